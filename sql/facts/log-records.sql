-- Some records of the log by pg_walinspect, with what they hold of each page; images come whole and unpacked.
SELECT i.start_lsn - '0/0'::pg_lsn AS place, i.end_lsn - '0/0'::pg_lsn AS done, i.xid::text::bigint AS xid,
       i.resource_manager, i.record_type, i.description, i.block_id::int, i.reltablespace::bigint, i.reldatabase::bigint,
       i.relfilenode::bigint, i.relforknumber::int, i.relblocknumber, i.block_data, i.block_fpi_data
FROM unnest(%(starts)s::pg_lsn[], %(ends)s::pg_lsn[]) AS h(start, stop)
CROSS JOIN LATERAL public.pg_get_wal_block_info(h.start, h.stop, true) AS i
ORDER BY i.start_lsn, i.block_id;
