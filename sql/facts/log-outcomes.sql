-- How transactions ended in some stretches of the log, by pg_walinspect. A commit names those within it, too.
SELECT i.xid::text::bigint AS xid, i.start_lsn - '0/0'::pg_lsn AS place, i.record_type, i.description
FROM unnest(%(lows)s::numeric[], %(highs)s::numeric[]) AS h(low, high)
CROSS JOIN LATERAL public.pg_get_wal_records_info('0/0'::pg_lsn + h.low, '0/0'::pg_lsn + h.high) AS i
WHERE i.resource_manager = 'Transaction' AND i.record_type IN ('COMMIT', 'ABORT')
ORDER BY i.start_lsn;
