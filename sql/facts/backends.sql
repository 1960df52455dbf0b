-- The other sessions in this database that could be a listmonk's, and what each last did.
-- kind: scan and fetch are the texts of listmonk's scan and of its batch fetch; hidden is a session of a role whose
--     statements may not be seen (nor their age); untracked has track_activities off; other is anything else.
-- writes: whether the session's role may update campaigns; a role that may not is no listmonk's.
-- A client that names itself as a tool does is no listmonk, unless its text says so.
WITH seen AS (
    SELECT a.pid, a.client_addr::text, a.backend_start, a.query_start, a.state, a.application_name,
           coalesce(extract(epoch FROM clock_timestamp() - a.state_change)::float8, 'Infinity') AS age,
           CASE
               WHEN a.backend_type IS NULL AND a.query = '<insufficient privilege>' THEN 'hidden'
               WHEN a.state = 'disabled' THEN 'untracked'
               WHEN a.query LIKE 'WITH camps AS%' THEN 'scan'
               WHEN a.query LIKE 'WITH campLists AS%' THEN 'fetch'
               ELSE 'other'
           END AS kind,
           coalesce(has_table_privilege(a.usesysid, to_regclass('campaigns'), 'UPDATE'), true) AS writes
    FROM pg_stat_activity a
    WHERE a.datname = current_database()
      AND a.pid <> pg_backend_pid()
      AND a.usesysid IS NOT NULL
      AND coalesce(a.backend_type, 'client backend') = 'client backend'
)
SELECT clock_timestamp() AS looked_at, pg_is_in_recovery() AS standby,
       s.pid, s.client_addr, s.backend_start, s.query_start, s.age, coalesce(s.state = 'active', false) AS active, s.kind
FROM (VALUES (1)) AS always
LEFT JOIN seen s
       ON s.kind IN ('scan', 'fetch')
       OR (s.writes AND coalesce(s.application_name, '') !~ '^(listmonk-doctor|psql|pg_dump|pg_restore|pgAdmin)')
ORDER BY s.pid;
