-- What repairs overwrote in `sent` or the cursor of campaigns and what was not taken back, oldest first: a repair must
-- not destroy evidence, so a diagnosis reads here what the row no longer says.
SELECT e.campaign_id, e.campaign_uuid::text, e.row_before, e.row_after, e.price
FROM listmonk_doctor.entries e
WHERE e.campaign_id = ANY(%(ids)s)
  AND e.undoes IS NULL
  AND NOT EXISTS (SELECT FROM listmonk_doctor.entries u WHERE u.undoes = e.run AND u.campaign_id = e.campaign_id)
  AND (e.row_before -> 'sent' IS DISTINCT FROM e.row_after -> 'sent'
       OR e.row_before -> 'last_subscriber_id' IS DISTINCT FROM e.row_after -> 'last_subscriber_id')
ORDER BY e.applied_at;
