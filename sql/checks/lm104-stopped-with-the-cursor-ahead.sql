-- code: LM104
-- name: stopped-with-the-cursor-ahead
-- severity: error
-- tags: campaigns, health
-- since: v3.0.0
--
-- What it finds: a campaign that says running while no listmonk server scans this database, and whose cursor is
-- further on in the audience than what was counted as sent, by more than the number of workers. While a server is
-- at work, or cannot be ruled out, it is silent: running ahead is then normal.
--
-- Why it matters: the people between the two were fetched and, but for the last unflushed seconds and refusals,
-- not mailed. As soon as a server starts it goes on above the cursor and they are lost for good (M1). Nobody is
-- lost yet.
--
-- What to do: do not start listmonk. `examine` it; `repair --strategy rewind` moves the cursor back, by preference
-- so that nobody is missed or so that nobody is mailed twice.
WITH installed AS MATERIALIZED (  -- the version that listmonk recorded last, and the oldest one
    SELECT string_to_array(substring(tags ->> -1 FROM '\d+\.\d+\.\d+'), '.')::int[] AS version,
           (SELECT min(string_to_array(substring(tag FROM '\d+\.\d+\.\d+'), '.')::int[])
              FROM jsonb_array_elements_text(tags) AS tag) AS oldest
      FROM (SELECT CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END AS tags
              FROM settings WHERE key = 'migrations' LIMIT 1) AS migrations
),
dated AS MATERIALIZED (  -- an upgrade is as old as the first setting that it brought: listmonk never dates them anew
    SELECT version,
           CASE WHEN oldest >= '{3,0,0}' THEN '-infinity' WHEN version < '{3,0,0}' THEN 'infinity'
                ELSE coalesce(min(updated_at) FILTER (WHERE key IN (
                    'app.cache_slow_queries', 'bounce.postmark', 'security.oidc', 'bounce.forwardemail')), '-infinity')
           END::timestamptz AS v3_since,
           CASE WHEN oldest >= '{4,0,0}' THEN '-infinity' WHEN version < '{4,0,0}' THEN 'infinity'
                ELSE coalesce(min(updated_at) FILTER (WHERE key IN (
                    'security.oidc', 'bounce.forwardemail', 'privacy.domain_allowlist')), '-infinity')
           END::timestamptz AS v4_since,
           CASE WHEN oldest >= '{6,1,0}' THEN '-infinity' WHEN version < '{6,1,0}' THEN 'infinity'
                ELSE coalesce(min(updated_at) FILTER (WHERE key IN (
                    'bounce.lettermint', 'privacy.disable_tracking', 'bounce.azure')), 'infinity')
           END::timestamptz AS v6_1_since
      FROM settings CROSS JOIN installed
     GROUP BY version, oldest
),
knobs AS MATERIALIZED (  -- today's settings; flush: mails in 5 s; one_stop: batch + queue + workers, lost at most
    SELECT workers, rate, batch, 5 * workers * rate AS flush,
           batch + 2 * workers * rate + workers AS one_stop
      FROM (SELECT greatest(1, coalesce(max(number) FILTER (WHERE key = 'app.concurrency'), 10)) AS workers,
                   greatest(1, coalesce(max(number) FILTER (WHERE key = 'app.message_rate'), 10)) AS rate,
                   greatest(1, coalesce(max(number) FILTER (WHERE key = 'app.batch_size'), 1000)) AS batch
              FROM (SELECT key, substring(value #>> '{}' FROM '^\d{1,8}$')::bigint AS number FROM settings
                     WHERE key IN ('app.concurrency', 'app.message_rate', 'app.batch_size')) AS numbers) AS read
),
server AS MATERIALIZED (  -- is a listmonk scanning? It does so every 5 s, with a statement of these words
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
),
candidates AS MATERIALIZED (
    SELECT c.id, c.name, c.type, c.status, c.sent, c.to_send, c.last_subscriber_id, c.max_subscriber_id,
           coalesce(c.started_at, 'infinity') AS started_at,
           c.last_subscriber_id = c.to_send AND c.last_subscriber_id < c.max_subscriber_id
           AND c.updated_at < d.v6_1_since AS may_be_a_count
      FROM campaigns c CROSS JOIN dated d CROSS JOIN knobs k CROSS JOIN server
     WHERE c.status = 'running'
       AND server.state = 'none'
       AND c.updated_at >= d.v3_since
       AND c.last_subscriber_id - c.sent > k.workers  -- no rank is larger than its id
)
SELECT c.id,
       c.name AS label,
       format('Running, but no listmonk server is at work: %s people of the audience have ids up to the cursor (%s) '
              'and %s were counted as sent, so a restart would skip up to %s people.',
              below.people, c.last_subscriber_id, c.sent, least(below.people - c.sent, k.one_stop)) AS detail,
       NULL::jsonb AS fix
  FROM candidates c
 CROSS JOIN knobs k
 CROSS JOIN LATERAL (
       SELECT count(DISTINCT sl.subscriber_id) AS people
         FROM campaign_lists cl
         JOIN lists l ON l.id = cl.list_id
         JOIN subscriber_lists sl ON sl.list_id = l.id
         JOIN subscribers s ON s.id = sl.subscriber_id
        WHERE cl.campaign_id = c.id
          AND sl.subscriber_id <= c.last_subscriber_id
          AND s.id <= c.last_subscriber_id
          AND s.status <> 'blocklisted'
          AND sl.created_at <= c.started_at
          AND CASE WHEN c.type = 'optin' THEN l.optin = 'double' AND sl.status = 'unconfirmed'
                   WHEN l.optin = 'double' THEN sl.status = 'confirmed'
                   ELSE sl.status <> 'unsubscribed' END
 ) AS below
 WHERE below.people - c.sent > k.workers
   AND NOT (c.may_be_a_count
            AND (below.people - c.sent > k.one_stop
                 OR NOT EXISTS (SELECT FROM campaign_lists cl JOIN subscriber_lists sl ON sl.list_id = cl.list_id
                            WHERE cl.campaign_id = c.id AND sl.subscriber_id = c.last_subscriber_id)))
 ORDER BY c.id;
