-- One portion of the log by pg_walinspect (PostgreSQL 16 and later): where its last whole record ends, and which records
-- make or show rows of some files. Locks are left out: each view and click takes one on its campaign's row.
-- Only records that end inside the portion are given, so the next one begins where the last of them ended.
SELECT max(end_lsn) - '0/0'::pg_lsn AS done,
       array_agg(DISTINCT start_lsn::text || ' ' || end_lsn::text) FILTER (WHERE hit) AS hits
FROM (SELECT start_lsn, end_lsn,
             relfilenode = ANY(%(files)s::oid[]) AND reldatabase = %(database)s::oid AND reltablespace = %(space)s::oid
             AND relforknumber = 0
             AND (block_fpi_length > 0 OR record_type ~ '^(INSERT|UPDATE|HOT_UPDATE|MULTI_INSERT)') AS hit
      FROM public.pg_get_wal_block_info('0/0'::pg_lsn + %(low)s::numeric, '0/0'::pg_lsn + %(high)s::numeric, false)) AS seen;
