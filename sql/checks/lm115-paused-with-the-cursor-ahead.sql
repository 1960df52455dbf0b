-- code: LM115
-- name: paused-with-the-cursor-ahead
-- severity: warning
-- tags: campaigns, health
-- since: v3.0.0
--
-- What it finds: a campaign that is paused, or scheduled to go on, and whose cursor is further on in the audience
-- than what was counted as sent, by more than the number of workers.
--
-- Why it matters: a clean pause writes the cursor back to the last person mailed. If it has not, either the batch
-- is still draining (with a sliding window that can take hours), or listmonk was stopped meanwhile and the people
-- between are lost at the next Start (M1), or the relay refused them (M9). The row alone cannot tell.
--
-- What to do: do not press Start and do not restart listmonk. `examine` it: it watches whether the row still
-- moves. If it has drained, `repair --strategy rewind` moves the cursor back at a price that it names.
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
candidates AS MATERIALIZED (
    SELECT c.id, c.name, c.type, c.status, c.sent, c.to_send, c.last_subscriber_id, c.max_subscriber_id,
           coalesce(c.started_at, 'infinity') AS started_at,
           c.last_subscriber_id = c.to_send AND c.last_subscriber_id < c.max_subscriber_id
           AND c.updated_at < d.v6_1_since AS may_be_a_count
      FROM campaigns c CROSS JOIN dated d CROSS JOIN knobs k
     WHERE c.status IN ('paused', 'scheduled')
       AND c.updated_at >= d.v3_since
       AND c.last_subscriber_id - c.sent > k.workers  -- no rank is larger than its id
)
SELECT c.id,
       c.name AS label,
       format('%s at %s of %s, but %s people of the audience have ids up to the cursor (%s): %s are fetched and not '
              'counted as sent; going on would skip them.',
              initcap(c.status::text), c.sent, c.to_send, below.people, c.last_subscriber_id,
              below.people - c.sent) AS detail,
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
