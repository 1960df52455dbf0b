-- code: LM116
-- name: draft-that-cannot-be-sent
-- severity: info
-- tags: campaigns
--
-- What it finds: a draft whose messenger does not exist, or (4.0.0 to 6.0.0) one of whose lists has been deleted.
--
-- Why it matters: started as it is, listmonk would cancel it at once (M14), or it would hang at its first fetch
-- (M6).
--
-- What to do: choose a messenger that exists, or save the draft's lists anew, before it is started. A draft that
-- nobody means to send can stay.
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
),
drafts AS MATERIALIZED (
    SELECT c.id, c.name, c.messenger,
           NOT EXISTS (SELECT FROM messengers m WHERE m.name = c.messenger) AS unknown_messenger,
           version >= '{4,0,0}' AND version < '{6,1,0}'
           AND EXISTS (SELECT FROM campaign_lists cl WHERE cl.campaign_id = c.id AND cl.list_id IS NULL) AS deleted_list
      FROM campaigns c CROSS JOIN installed
     WHERE c.status = 'draft'
)
SELECT id,
       name AS label,
       concat_ws(' ', CASE WHEN unknown_messenger
                           THEN format('Its messenger %s does not exist: once started it is cancelled.',
                                       quote_literal(left(messenger, 60))) END,
                      CASE WHEN deleted_list
                           THEN 'One of its lists has been deleted: once started it hangs at its first fetch.' END)
           AS detail,
       NULL::jsonb AS fix
  FROM drafts
 WHERE unknown_messenger OR deleted_list
 ORDER BY id;
