-- code: LM101
-- name: finished-before-everyone-was-mailed
-- severity: error
-- tags: campaigns, health
-- since: v3.0.0
--
-- What it finds: a campaign that says finished although more people of its audience than noise can explain have
-- ids above its cursor and up to its ceiling. Only people who had subscribed when it started are counted, and a
-- cursor that may have been overwritten with a count is left to LM103.
--
-- Why it matters: these people were not mailed. On 2.1.0 to 3.0.0 a whole batch of blocklisted or unconfirmed
-- people reads as the end of the list (M3); on 3.0.0 to 4.1.0 a campaign that is paused and started again before
-- it has drained is called finished (M4); on any version the last people may all have been refused by the relay.
--
-- What to do: `examine` it, then `repair --strategy resume`: the cursor is exact, so nobody gets the mail twice.
-- On 3.0.0 a plain Start stops again at the same stretch; the repair moves the cursor past it.
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
    SELECT c.id, c.name, c.type, c.sent, c.to_send, c.last_subscriber_id, c.max_subscriber_id, c.started_at,
           d.version, c.last_subscriber_id = c.to_send AND c.updated_at < d.v6_1_since AS may_be_a_count
      FROM campaigns c CROSS JOIN dated d
     WHERE c.status = 'finished'
       AND c.last_subscriber_id < c.max_subscriber_id
       AND c.updated_at >= d.v3_since
)
SELECT c.id,
       c.name AS label,
       format('Finished at %s of %s, but %s people of its audience have ids above the cursor (%s) and up to the '
              'ceiling (%s): they were not mailed.',
              c.sent, c.to_send, tail.people, c.last_subscriber_id, c.max_subscriber_id) AS detail,
       CASE WHEN c.version >= '{4,0,0}' THEN jsonb_build_object('status', 'paused') END AS fix
  FROM candidates c
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
 WHERE tail.people > knobs.workers
   AND CASE WHEN c.may_be_a_count THEN knobs.workers >= abs(c.sent - (
        SELECT count(DISTINCT sl.subscriber_id)
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
       )) ELSE true END
 ORDER BY c.id;
