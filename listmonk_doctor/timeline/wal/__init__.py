"""Owns reading a campaign's row out of PostgreSQL's write-ahead log, raw: pages, records, tuples, rows, commits."""
