-- Which transactions wrote campaigns' rows for this program: an entry is committed together with the change that it
-- describes, so that its xmin is the row's. Entries are only ever added. (A dump that is restored loses that.)
SELECT e.campaign_uuid::text, e.xmin::text, e.run::text, e.applied_at
FROM listmonk_doctor.entries e
WHERE e.campaign_uuid = ANY(%(uuids)s::uuid[])
ORDER BY e.applied_at;
