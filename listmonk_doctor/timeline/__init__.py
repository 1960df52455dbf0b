"""Versions of a campaign row over time. Empty so far: recordings and the write-ahead log come here."""
