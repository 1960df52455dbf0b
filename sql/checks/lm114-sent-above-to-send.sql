-- code: LM114
-- name: sent-above-to-send
-- severity: info
-- tags: campaigns
-- since: v3.0.0
--
-- What it finds: a campaign that counts more mails sent than people to send to, by no more than people who came
-- and went, or one flush of the counter, can explain.
--
-- Why it matters: to_send is counted anew at each pick-up, so people who were mailed and then unsubscribed are no
-- longer in it (M11), and a flush can be counted twice at the end (M10). The counters then prove nothing in either
-- direction.
--
-- What to do: nothing. Do not correct the counter; `examine` it if there is doubt that everybody was mailed.
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
counted AS MATERIALIZED (
    SELECT c.id, c.name, c.status, c.sent, c.to_send, ever.people AS ever,
           c.sent - c.to_send > k.flush AND c.sent > ever.people + k.flush AS far_above
      FROM campaigns c CROSS JOIN dated d CROSS JOIN knobs k
     CROSS JOIN LATERAL (  -- who is or may once have been in its audience, up to the ceiling
           SELECT count(DISTINCT sl.subscriber_id) AS people
             FROM campaign_lists cl
             JOIN lists l ON l.id = cl.list_id
             JOIN subscriber_lists sl ON sl.list_id = l.id
             JOIN subscribers s ON s.id = sl.subscriber_id
            WHERE cl.campaign_id = c.id
              AND sl.subscriber_id <= c.max_subscriber_id
              AND s.id <= c.max_subscriber_id
              AND (sl.updated_at > c.started_at
                   OR CASE WHEN c.type = 'optin' THEN l.optin = 'double' AND sl.status = 'unconfirmed'
                           WHEN l.optin = 'double' THEN sl.status = 'confirmed'
                           ELSE sl.status <> 'unsubscribed' END)
     ) AS ever
     WHERE c.status <> 'draft'
       AND c.sent - c.to_send > k.workers
       AND c.updated_at >= d.v3_since
)
SELECT id,
       name AS label,
       format('It is %s and counts %s mails sent for %s people; up to %s people may have been in its audience.',
              status, sent, to_send, ever) AS detail,
       NULL::jsonb AS fix
  FROM counted
 WHERE NOT far_above
 ORDER BY id;
