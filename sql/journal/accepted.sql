-- Acknowledgements that were not taken back, newest first. Whether one still holds depends on `until` and on the
-- campaign's row, whose fingerprint is compared by the reader.
SELECT e.listmonk_schema, a.campaign_id, e.campaign_uuid::text, a.run::text, a.reason, a.until, a.fingerprint,
       a.accepted_by, a.accepted_at
FROM listmonk_doctor.accepted a
JOIN listmonk_doctor.entries e ON e.run = a.run AND e.campaign_id = a.campaign_id
WHERE NOT EXISTS (
    SELECT FROM listmonk_doctor.entries u WHERE u.undoes = a.run AND u.campaign_id = a.campaign_id
)
ORDER BY a.accepted_at DESC;
