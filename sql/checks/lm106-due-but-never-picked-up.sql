-- code: LM106
-- name: due-but-never-picked-up
-- severity: warning
-- tags: campaigns, health
--
-- What it finds: a scheduled campaign whose time has passed by more than 15 seconds, three scans
-- (`listmonk_doctor.due_after` sets another number) and that has not been picked up.
--
-- Why it matters: a listmonk server picks up what is due within 5 s. If none is running, this campaign will be
-- sent the moment one starts: also from a copy of the database that was restored for a test, and also if it was
-- already sent from the original. On 4.0.0 to 5.0.0 a running server picks up a due campaign with nobody to mail
-- and drops it again at every scan (M7). A passive server picks nothing up.
--
-- What to do: if it should not be sent now, `repair --strategy unschedule` makes it a draft, even while a server
-- scans. If it should, start listmonk, or look into its log.
WITH server AS MATERIALIZED (  -- is a listmonk scanning? It does so every 5 s, with a statement of these words
    SELECT coalesce(NULLIF(current_setting('listmonk_doctor.server', true), ''), looked.state) AS state
      FROM (SELECT CASE
                       WHEN pg_is_in_recovery() THEN 'unknown'
                       WHEN bool_or(query ~ '^\s*WITH (camps|campLists) AS'
                                    AND (state = 'active' OR clock_timestamp() - state_change < interval '6 s'))
                       THEN 'alive'
                       WHEN bool_or(state IS NULL OR state = 'disabled'  -- not shown, or a scan's text overwritten
                                    OR clock_timestamp() - state_change < interval '10 s')
                       THEN 'unknown'
                       ELSE 'none'
                   END AS state
              FROM pg_stat_activity
             WHERE datname = current_database()
               AND pid <> pg_backend_pid()
               AND coalesce(backend_type, 'client backend') = 'client backend') AS looked
)
SELECT c.id,
       c.name AS label,
       format('Due since %s UTC (%s seconds), but not picked up%s: %s of %s sent.',
              to_char(c.send_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
              floor(extract(epoch FROM now() - c.send_at)),
              CASE server.state
                  WHEN 'none' THEN '; it will be sent the moment a listmonk server starts'
                  WHEN 'alive' THEN ' by the server that is scanning'
                  ELSE '' END,
              c.sent, c.to_send) AS detail,
       CASE WHEN c.started_at IS NULL AND c.sent = 0 THEN jsonb_build_object('status', 'draft') END AS fix
  FROM campaigns c CROSS JOIN server
 WHERE c.status = 'scheduled'
   AND c.send_at < now() - coalesce(NULLIF(current_setting('listmonk_doctor.due_after', true), '')::numeric, 15)
                           * interval '1 s'
 ORDER BY c.id;
