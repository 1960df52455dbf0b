-- Who holds the lock that lets one listmonk-doctor write at a time (its key is split into two halves in pg_locks).
-- The columns of other roles' sessions are NULL without pg_read_all_stats.
SELECT l.pid, a.usename::text AS role, a.application_name AS application,
       coalesce(host(a.client_addr), 'unix socket') AS client, a.xact_start
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid::bigint = %(high)s AND l.objid::bigint = %(low)s
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());
