-- Who is in a campaign's audience now: one row per campaign and subscriber, over all campaigns.
--
-- A list with double opt-in counts the confirmed (for an opt-in campaign: the unconfirmed), one with single opt-in
-- everybody who has not unsubscribed (for an opt-in campaign: nobody); the blocklisted are never in it.
SELECT DISTINCT campaigns.id AS campaign_id, subscribers.id AS subscriber_id
FROM campaigns
JOIN campaign_lists ON campaign_lists.campaign_id = campaigns.id
JOIN lists ON lists.id = campaign_lists.list_id
JOIN subscriber_lists ON subscriber_lists.list_id = lists.id
JOIN subscribers ON subscribers.id = subscriber_lists.subscriber_id
WHERE subscribers.status <> 'blocklisted'
  AND CASE
          WHEN campaigns.type = 'optin' THEN lists.optin = 'double' AND subscriber_lists.status = 'unconfirmed'
          WHEN lists.optin = 'double' THEN subscriber_lists.status = 'confirmed'
          ELSE subscriber_lists.status <> 'unsubscribed'
      END
