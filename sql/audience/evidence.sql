-- Who is proved to have been mailed, by campaign: bounces, and views and clicks that name a subscriber, after the
-- campaign's start (a test send leaves the same marks before it). Duplicates are removed by the reader: UNION would cost
-- more.
SELECT campaign_id, string_agg(int4send(subscriber_id), NULL) AS reached
FROM (
    SELECT campaign_id, subscriber_id, created_at FROM bounces WHERE campaign_id = ANY(%(campaigns)s)
    UNION ALL
    SELECT campaign_id, subscriber_id, created_at FROM campaign_views WHERE campaign_id = ANY(%(campaigns)s)
    UNION ALL
    SELECT campaign_id, subscriber_id, created_at FROM link_clicks WHERE campaign_id = ANY(%(campaigns)s)
) AS proof
JOIN unnest(%(campaigns)s::integer[], %(starts)s::timestamptz[]) AS campaign (id, start) ON campaign.id = campaign_id
WHERE created_at >= start AND subscriber_id IS NOT NULL
GROUP BY campaign_id;
