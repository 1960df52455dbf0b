WITH camps AS (
    -- What a listmonk server's scan does to the rows that it holds or picks up, as far as a bystander can see it.
    -- The text begins as the real one does, because that is what tells a scanner in pg_stat_activity.
    -- pipes: ids of the campaigns with an open pipe: the scan adds what was sent since the last one, here nothing, so that
    --     the row's xmin moves and no column does.
    -- drops: whether the version picks up a due campaign without anybody to mail and drops it again, at each scan.
    SELECT campaigns.id, campaigns.id = ANY(%(pipes)s::int[]) AS piped
    FROM campaigns
    WHERE campaigns.id = ANY(%(pipes)s::int[])
       OR (%(drops)s AND campaigns.status = 'scheduled' AND campaigns.send_at <= now()
           AND campaigns.started_at IS NULL
           AND NOT EXISTS (
               SELECT FROM campaign_lists
               JOIN lists ON lists.id = campaign_lists.list_id
               JOIN subscriber_lists ON subscriber_lists.list_id = lists.id
               JOIN subscribers ON subscribers.id = subscriber_lists.subscriber_id
               WHERE campaign_lists.campaign_id = campaigns.id
                 AND subscribers.status <> 'blocklisted'
                 AND CASE
                         WHEN campaigns.type = 'optin'
                             THEN lists.optin = 'double' AND subscriber_lists.status = 'unconfirmed'
                         WHEN lists.optin = 'double' THEN subscriber_lists.status = 'confirmed'
                         ELSE subscriber_lists.status <> 'unsubscribed'
                     END))
)
UPDATE campaigns
SET sent = campaigns.sent + 0,
    updated_at = CASE WHEN camps.piped THEN campaigns.updated_at ELSE now() END
FROM camps
WHERE campaigns.id = camps.id
