-- code: LM901
-- name: two-servers-on-one-database
-- severity: warning
-- tags: server, health
--
-- What it finds: two sessions that scan for campaigns as a listmonk server does every 5 s, from two machines, or
-- at moments that one server's rhythm cannot explain. It sees them only as a superuser, a member of
-- pg_read_all_stats, or listmonk's own role.
--
-- Why it matters: each server sends every running campaign. They share the cursor, but both write sent and the
-- cursor at the end, people can be mailed twice, and a row that one of them calls finished may still be written by
-- the other (M16).
--
-- What to do: stop one of the two; a second one that should only serve pages is started with `--passive`.
WITH ticks AS MATERIALIZED (
    SELECT pid, client_addr, query_start, clock_timestamp() - query_start AS age
      FROM pg_stat_activity
     WHERE datname = current_database()
       AND pid <> pg_backend_pid()
       AND query ~ '^\s*WITH camps AS'
)
SELECT NULL::int AS id,
       'two servers' AS label,
       format('Two sessions scan this database as listmonk does every 5 s: process %s (%s) %s s ago, and process %s '
              '(%s) %s s ago.',
              a.pid, coalesce(host(a.client_addr), 'local'), round(extract(epoch FROM a.age)::numeric, 1),
              b.pid, coalesce(host(b.client_addr), 'local'), round(extract(epoch FROM b.age)::numeric, 1)) AS detail,
       NULL::jsonb AS fix
  FROM ticks a
  JOIN ticks b ON (b.query_start, b.pid) > (a.query_start, a.pid)
 WHERE a.age < interval '4.5 s'  -- one server scans once in that time, on whichever of its sessions is free
    OR a.age < interval '6 s' AND a.client_addr IS DISTINCT FROM b.client_addr
 ORDER BY a.age, b.age
 LIMIT 1;
