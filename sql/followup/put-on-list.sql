-- Puts people on a new list: those of the ranges who are, at this very moment, in the audience of the campaign that
-- they were chosen from. Whoever unsubscribed, was blocklisted or deleted since is not; the rows written are counted
-- by the caller, so that one too few takes everything back.
INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at, updated_at)
SELECT s.id, l.id, 'confirmed', l.created_at, l.created_at
FROM lists l
CROSS JOIN unnest(%(firsts)s::integer[], %(lasts)s::integer[]) AS r (first, last)
CROSS JOIN generate_series(r.first, r.last) AS chosen (id)
JOIN subscribers s ON s.id = chosen.id
WHERE l.uuid = %(list)s
  AND s.status <> 'blocklisted'
  AND EXISTS (
      SELECT FROM campaign_lists cl
      JOIN lists ol ON ol.id = cl.list_id
      JOIN subscriber_lists sl ON sl.list_id = ol.id AND sl.subscriber_id = s.id
      WHERE cl.campaign_id = %(campaign)s
        AND CASE WHEN ol.optin = 'double' THEN sl.status = 'confirmed' ELSE sl.status <> 'unsubscribed' END
  )
