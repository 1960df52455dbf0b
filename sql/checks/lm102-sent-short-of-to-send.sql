-- code: LM102
-- name: sent-short-of-to-send
-- severity: warning
-- tags: campaigns, health
-- since: v3.0.0
--
-- What it finds: a finished campaign that counts more people to send to than it sent, by more than counter noise
-- (the number of workers), though nobody of its audience is left above the cursor.
--
-- Why it matters: the gap can be people who were fetched and lost when listmonk was killed, restarted or rebooted
-- in the middle of a batch (M1), mails that were sent and not counted in those seconds (M10), refusals by the
-- relay (M9), messages that could not be rendered (M17), or people who left before their turn. The row alone
-- cannot tell these apart, and the people are not "the last ones of the list".
--
-- What to do: `examine` it for the candidates and the price of each repair; listmonk's log and the relay's log
-- decide who was mailed. Do not set it back to running: on 3.0.0 to 6.0.0 that sends nothing and destroys the
-- cursor.
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
short AS MATERIALIZED (
    SELECT c.id, c.name, c.type, c.sent, c.to_send, c.last_subscriber_id, c.max_subscriber_id, c.started_at,
           c.updated_at < d.v4_since AS counts_blocklisted
      FROM campaigns c CROSS JOIN dated d CROSS JOIN knobs k
     WHERE c.status = 'finished'
       AND c.to_send - c.sent > k.workers
       AND c.updated_at >= d.v3_since
),
addressed AS MATERIALIZED (  -- many campaigns share few sets of lists: the blocklisted are looked up once per set
    SELECT c.id, c.type, array_agg(DISTINCT cl.list_id ORDER BY cl.list_id) AS lists
      FROM short c JOIN campaign_lists cl ON cl.campaign_id = c.id
     WHERE c.counts_blocklisted AND cl.list_id IS NOT NULL
     GROUP BY c.id, c.type
),
blocklisted AS MATERIALIZED (  -- whose subscription counts, since to_send looks at that alone; OFFSET: they are few
    SELECT sl.list_id, s.id, l.optin, sl.status
      FROM subscribers s
     CROSS JOIN LATERAL (SELECT list_id, status FROM subscriber_lists
                          WHERE subscriber_id = s.id AND status <> 'unsubscribed' OFFSET 0) AS sl
      JOIN lists l ON l.id = sl.list_id
     WHERE s.status = 'blocklisted'
       AND EXISTS (SELECT FROM addressed)
),
per_audience AS MATERIALIZED (
    SELECT audiences.type, audiences.lists, array_agg(DISTINCT b.id ORDER BY b.id) AS ids
      FROM (SELECT DISTINCT type, lists FROM addressed) AS audiences
     CROSS JOIN LATERAL unnest(audiences.lists) AS list_id
      JOIN blocklisted b USING (list_id)
     WHERE CASE WHEN audiences.type = 'optin' THEN b.optin = 'double' AND b.status = 'unconfirmed'
                WHEN b.optin = 'double' THEN b.status = 'confirmed'
                ELSE true END
     GROUP BY audiences.type, audiences.lists
),
explained AS MATERIALIZED (  -- width_bucket: how many of the blocklisted have ids up to the ceiling
    SELECT c.id, c.name, c.type, c.sent, c.to_send, c.last_subscriber_id, c.max_subscriber_id, c.started_at,
           coalesce(width_bucket(c.max_subscriber_id, b.ids), 0) AS blocklisted,
           c.to_send - c.sent <= coalesce(width_bucket(c.max_subscriber_id, b.ids), 0) AS by_blocklisted
      FROM short c
      LEFT JOIN addressed a ON a.id = c.id
      LEFT JOIN per_audience b ON b.lists = a.lists AND b.type = a.type
)
SELECT c.id,
       c.name AS label,
       format('Finished at %s of %s with nobody left above the cursor (%s): %s people are not accounted for.',
              c.sent, c.to_send, c.last_subscriber_id, c.to_send - c.sent) AS detail,
       NULL::jsonb AS fix
  FROM explained c
 CROSS JOIN knobs
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
          AND sl.created_at <= c.started_at
          AND CASE WHEN c.type = 'optin' THEN l.optin = 'double' AND sl.status = 'unconfirmed'
                   WHEN l.optin = 'double' THEN sl.status = 'confirmed'
                   ELSE sl.status <> 'unsubscribed' END
 ) AS tail
 WHERE NOT c.by_blocklisted
   AND tail.people <= knobs.workers
 ORDER BY c.id;
