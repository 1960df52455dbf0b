-- code: LM109
-- name: messenger-that-does-not-exist
-- severity: error
-- tags: campaigns, health
--
-- What it finds: a campaign that is scheduled, running or paused, or was cancelled within seconds of its start
-- without one mail sent, and whose messenger is not among the configured ones.
--
-- Why it matters: listmonk cancels a campaign whose messenger it does not know as soon as it picks it up (M14),
-- and a cancelled campaign cannot be started again. Messengers that listmonk knows: email, each enabled one of the
-- setting `messengers`, and from 5.0.0 on each named SMTP server if more than one is enabled.
--
-- What to do: configure the messenger again (under the same name) or choose another for the campaign. One that was
-- cancelled can be copied and sent as a new campaign: nobody was mailed.
WITH installed AS MATERIALIZED (  -- the version that listmonk recorded last, and the oldest one
    SELECT string_to_array(substring(tags ->> -1 FROM '\d+\.\d+\.\d+'), '.')::int[] AS version,
           (SELECT min(string_to_array(substring(tag FROM '\d+\.\d+\.\d+'), '.')::int[])
              FROM jsonb_array_elements_text(tags) AS tag) AS oldest
      FROM (SELECT CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END AS tags
              FROM settings WHERE key = 'migrations' LIMIT 1) AS migrations
),
messengers AS MATERIALIZED (  -- `email` always, enabled ones, and from 5.0.0 each named of several SMTP servers
    SELECT 'email' AS name
     UNION ALL
    SELECT entry ->> 'name'
      FROM settings
     CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE '[]' END) AS entry
     WHERE key = 'messengers' AND entry ->> 'enabled' = 'true'
     UNION ALL
    SELECT name
      FROM (SELECT entry ->> 'name' AS name, count(*) OVER () AS servers
              FROM settings
             CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE '[]' END)
                                AS entry
             WHERE key = 'smtp' AND entry ->> 'enabled' = 'true') AS smtp
     CROSS JOIN installed
     WHERE servers > 1 AND version >= '{5,0,0}'
)
SELECT c.id,
       c.name AS label,
       format('Its messenger %s does not exist (there are: %s): %s.', quote_literal(left(c.messenger, 60)),
              (SELECT string_agg(DISTINCT left(m.name, 60), ', ') FROM messengers m WHERE m.name <> ''),
              CASE c.status
                  WHEN 'cancelled' THEN format('it was cancelled when it was picked up, %s of %s sent', sent, to_send)
                  ELSE format('it is %s at %s of %s and will be cancelled at its next pick-up', status, sent, to_send)
              END) AS detail,
       NULL::jsonb AS fix
  FROM campaigns c
 WHERE (c.status IN ('scheduled', 'running', 'paused')
        OR c.status = 'cancelled' AND c.sent = 0 AND c.updated_at < c.started_at + interval '10 s')
   AND NOT EXISTS (SELECT FROM messengers m WHERE m.name = c.messenger)
 ORDER BY c.id;
