-- code: LM108
-- name: deleted-list-under-a-campaign
-- severity: error
-- tags: campaigns, health
-- since: v4.0.0
-- before: v6.1.0
--
-- What it finds: a campaign that is scheduled, running or paused and one of whose lists has been deleted.
--
-- Why it matters: from 4.0.0 to 6.0.0 the row that the deleted list leaves behind makes each fetch fail: the
-- campaign hangs as running, and so does a restart (M6). Nobody is lost: the cursor is exact.
--
-- What to do: if it is running, stop listmonk first. Then `repair --strategy detach-list` removes the empty row
-- and shows how the audience changes; start listmonk, and press Start.
SELECT c.id,
       c.name AS label,
       format('%s, and %s of its %s lists %s been deleted (%s): '
              'it stands at %s of %s and hangs at its next fetch.',
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
