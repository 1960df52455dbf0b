-- code: LM112
-- name: deleted-list-left-out
-- severity: warning
-- tags: campaigns, health
-- since: v6.1.0
--
-- What it finds: a campaign that is scheduled, running or paused and one of whose lists has been deleted.
--
-- Why it matters: from 6.1.0 on the campaign goes on without the people who were only on that list (M6). They
-- appear as a scattered gap, without a line in the log.
--
-- What to do: if they should be mailed, import them into another list and add it to the campaign before it ends.
SELECT c.id,
       c.name AS label,
       format('%s, and %s of its %s lists %s been deleted (%s): '
              'it goes on at %s of %s without the people who were only there.',
              initcap(c.status::text), count(*) FILTER (WHERE cl.list_id IS NULL), count(*),
              CASE count(*) FILTER (WHERE cl.list_id IS NULL) WHEN 1 THEN 'has' ELSE 'have' END,
              string_agg(quote_literal(left(cl.list_name, 60)), ', ' ORDER BY cl.id)
                  FILTER (WHERE cl.list_id IS NULL),
              c.sent, c.to_send) AS detail,
       NULL::jsonb AS fix
  FROM campaigns c
  JOIN campaign_lists cl ON cl.campaign_id = c.id
 WHERE c.status IN ('scheduled', 'running', 'paused')
 GROUP BY c.id
HAVING bool_or(cl.list_id IS NULL)
 ORDER BY c.id;
