-- Every entry of the journal, newest first, with the run that took it back, if one did.
SELECT e.run::text, e.listmonk_schema, e.campaign_id, e.campaign_uuid::text, e.campaign_name, e.strategy, e.prefer,
       e.reason, e.changes, e.price, e.plan, e.row_before, e.row_after, e.undoes::text, e.doctor_version, e.applied_at,
       e.applied_by, e.client, u.run::text AS undone_by, u.applied_at AS undone_at
FROM listmonk_doctor.entries e
LEFT JOIN listmonk_doctor.entries u ON u.undoes = e.run AND u.campaign_id = e.campaign_id
ORDER BY e.applied_at DESC, e.run, e.campaign_id DESC;
