-- Who is proved to have been mailed: bounces, and views and clicks that name a subscriber, after the start (a test
-- send leaves the same marks before it). Duplicates are removed by the reader: UNION would cost more.
SELECT string_agg(int4send(subscriber_id), NULL) AS reached
FROM (
    SELECT subscriber_id FROM bounces WHERE campaign_id = %(campaign)s AND created_at >= %(start)s
    UNION ALL
    SELECT subscriber_id FROM campaign_views
    WHERE campaign_id = %(campaign)s AND created_at >= %(start)s AND subscriber_id IS NOT NULL
    UNION ALL
    SELECT subscriber_id FROM link_clicks
    WHERE campaign_id = %(campaign)s AND created_at >= %(start)s AND subscriber_id IS NOT NULL
) AS proof;
