-- code: LM105
-- name: running-but-nothing-moves
-- severity: warning
-- tags: campaigns, health
-- since: v3.0.0
--
-- What it finds: a campaign that says running, with everybody fetched so far counted as sent, whose last fetch is
-- longer ago than twice the time of a batch at the configured rate and sliding window (times the campaigns that
-- share the sender), and three scans. With people fetched and not sent it waits a day longer (an hour, if it
-- cannot be seen whether a server is running), since a slow relay looks the same. `listmonk_doctor.stuck_after`
-- (seconds) sets another limit.
--
-- Why it matters: nobody is being mailed. Up to 6.0.0 an error while fetching leaves the campaign in listmonk's
-- memory for ever (M5); a template or attachment that cannot be built is tried again every 5 s (M14); or no server
-- is running. Nobody is lost by it.
--
-- What to do: look at listmonk's log. `examine` it: if its cursor is exact, restarting listmonk loses nobody.
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
sliding AS MATERIALIZED (  -- listmonk ignores a window of a second or less
    SELECT coalesce(max(ceil(k.batch / per_window) * extract(epoch FROM duration))
                        FILTER (WHERE enabled AND duration > interval '1 s'), 0) AS seconds
      FROM (SELECT max(value #>> '{}') FILTER (WHERE key = 'app.message_sliding_window') = 'true' AS enabled,
                   max(NULLIF(substring(value #>> '{}' FROM '^\d{1,8}$'), '0'))
                       FILTER (WHERE key = 'app.message_sliding_window_rate')::numeric AS per_window,
                   max(substring(value #>> '{}' FROM '^(?:\d{1,6}(?:\.\d+)?(?:h|m|s|ms))+$'))
                       FILTER (WHERE key = 'app.message_sliding_window_duration')::interval AS duration
              FROM settings WHERE key LIKE 'app.message_sliding_window%') AS window_settings
     CROSS JOIN knobs k
),
one_round AS MATERIALIZED (  -- seconds until the single fetching loop comes back to a campaign that is alone
    SELECT greatest(k.batch::numeric / (k.workers * k.rate), sliding.seconds) AS seconds
      FROM knobs k CROSS JOIN sliding
),
patience AS MATERIALIZED (
    SELECT coalesce(NULLIF(current_setting('listmonk_doctor.stuck_after', true), '')::numeric,
                    15 + 2 * r.seconds * count(*)) * interval '1 s' AS allowed
      FROM one_round r
      JOIN campaigns c ON c.status = 'running' OR c.status IN ('paused', 'cancelled')
                          AND c.updated_at > now() - 2 * r.seconds * interval '1 s'
     GROUP BY r.seconds
),
candidates AS MATERIALIZED (  -- a campaign that cannot be built is picked up anew every 5 s: only its start stays
    SELECT c.id, c.name, c.type, c.sent, c.to_send, c.last_subscriber_id, c.max_subscriber_id,
           coalesce(c.started_at, 'infinity') AS started_at, server.state, moved.at, p.allowed
      FROM campaigns c
     CROSS JOIN LATERAL (SELECT CASE WHEN c.sent = 0 AND c.last_subscriber_id = 0
                                     THEN coalesce(c.started_at, c.updated_at) ELSE c.updated_at END AS at) AS moved
     CROSS JOIN dated d CROSS JOIN patience p CROSS JOIN server
     WHERE c.status = 'running'
       AND c.updated_at >= d.v3_since
       AND moved.at < now() - p.allowed
       AND NOT (d.version >= '{4,0,0}' AND d.version < '{6,1,0}'  -- LM108 says why it hangs
                AND EXISTS (SELECT FROM campaign_lists cl WHERE cl.campaign_id = c.id AND cl.list_id IS NULL))
)
SELECT c.id,
       c.name AS label,
       format('Running at %s of %s, but its last fetch was at %s UTC, %s seconds ago (%s are normal at most)%s; '
              '%s people have ids above the cursor (%s).',
              c.sent, c.to_send, to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
              floor(extract(epoch FROM now() - c.at)), ceil(extract(epoch FROM c.allowed)),
              CASE c.state WHEN 'none' THEN ', and no listmonk server is at work' ELSE '' END,
              tail.people, c.last_subscriber_id) AS detail,
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
 CROSS JOIN LATERAL (
       SELECT count(DISTINCT sl.subscriber_id) AS people
         FROM campaign_lists cl
         JOIN lists l ON l.id = cl.list_id
         JOIN subscriber_lists sl ON sl.list_id = l.id
         JOIN subscribers s ON s.id = sl.subscriber_id
        WHERE cl.campaign_id = c.id
          AND sl.subscriber_id > c.last_subscriber_id AND sl.subscriber_id <= c.max_subscriber_id
          AND s.id > c.last_subscriber_id AND s.id <= c.max_subscriber_id
          AND s.status <> 'blocklisted'
          AND CASE WHEN c.type = 'optin' THEN l.optin = 'double' AND sl.status = 'unconfirmed'
                   WHEN l.optin = 'double' THEN sl.status = 'confirmed'
                   ELSE sl.status <> 'unsubscribed' END
 ) AS tail
 WHERE below.people - c.sent <= k.workers
    OR now() > c.at + c.allowed + CASE c.state WHEN 'alive' THEN interval '1 day'
                                          WHEN 'unknown' THEN interval '1 hour' END
 ORDER BY c.id;
