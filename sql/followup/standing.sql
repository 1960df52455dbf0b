-- What has become of a follow-up since it was made: what an undo would destroy, beside what was made.
-- No row: the draft is gone. The list's columns are NULL where the list is gone.
SELECT d.id AS draft, d.status::text AS status, d.started_at IS NOT NULL OR d.sent > 0 AS started,
       d.send_at IS NOT NULL AS scheduled, d.name AS name,
       (SELECT count(*) FROM campaign_lists cl WHERE cl.campaign_id = d.id) AS addresses,
       EXISTS (SELECT FROM campaign_views v WHERE v.campaign_id = d.id)
       OR EXISTS (SELECT FROM link_clicks k WHERE k.campaign_id = d.id)
       OR EXISTS (SELECT FROM bounces b WHERE b.campaign_id = d.id) AS marked,
       l.id AS list, l.name AS list_name, l.updated_at IS DISTINCT FROM l.created_at AS list_edited,
       (SELECT count(*) FROM subscriber_lists sl WHERE sl.list_id = l.id) AS people,
       (SELECT count(*) FROM subscriber_lists sl
        JOIN (SELECT chosen.id
              FROM unnest(%(firsts)s::integer[], %(lasts)s::integer[]) AS r (first, last)
              CROSS JOIN generate_series(r.first, r.last) AS chosen (id)) AS put ON put.id = sl.subscriber_id
        WHERE sl.list_id = l.id AND sl.status = 'confirmed' AND sl.created_at = l.created_at
          AND sl.updated_at = l.created_at) AS untouched,
       (SELECT array_agg(cl.campaign_id ORDER BY cl.campaign_id) FROM campaign_lists cl
        WHERE cl.list_id = l.id AND cl.campaign_id <> d.id) AS others
FROM campaigns d
LEFT JOIN lists l ON l.uuid = %(list)s
WHERE d.uuid = %(draft)s;
