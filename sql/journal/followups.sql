-- The follow-ups that were made of campaigns, or that campaigns are, and not taken back, oldest first: what the plan
-- named (the draft's uuid, the list's uuid, the people), and what the draft has come to (NULL where it was deleted).
-- settled: the run that pointed it at the lists of its original, taken_off: the people whom refreshes took off its list,
-- as far as these were not taken back.
SELECT e.run::text, e.listmonk_schema, e.applied_at, e.campaign_id, e.campaign_uuid::text, made.draft::text,
       made.list::text, made.list_name, made.people, c.id, c.name, c.status::text, c.sent, c.to_send, c.started_at,
       l.id AS list_id,
       (SELECT s.run::text FROM listmonk_doctor.entries s
        WHERE s.strategy = 'follow-up-settle' AND s.campaign_uuid = made.draft AND s.undoes IS NULL
          AND NOT EXISTS (
              SELECT FROM listmonk_doctor.entries u WHERE u.undoes = s.run AND u.campaign_id = s.campaign_id
          )
        LIMIT 1) AS settled,
       (SELECT coalesce(array_agg(change #>> '{before,subscriber_ids}'), '{}')
        FROM listmonk_doctor.entries r CROSS JOIN LATERAL jsonb_array_elements(r.changes) AS change
        WHERE r.strategy = 'follow-up-refresh' AND r.campaign_uuid = made.draft AND r.undoes IS NULL
          AND NOT EXISTS (
              SELECT FROM listmonk_doctor.entries u WHERE u.undoes = r.run AND u.campaign_id = r.campaign_id
          )) AS taken_off
FROM listmonk_doctor.entries e
CROSS JOIN LATERAL (
    SELECT (max(change #>> '{key,uuid}') FILTER (WHERE change ->> 'table' = 'campaigns'))::uuid AS draft,
           (max(change #>> '{key,uuid}') FILTER (WHERE change ->> 'table' = 'lists'))::uuid AS list,
           max(change #>> '{after,name}') FILTER (WHERE change ->> 'table' = 'lists') AS list_name,
           max(change #>> '{after,subscriber_ids}') FILTER (WHERE change ->> 'table' = 'subscriber_lists') AS people
    FROM jsonb_array_elements(e.changes) AS change
) AS made
LEFT JOIN campaigns c ON c.uuid = made.draft
LEFT JOIN lists l ON l.uuid = made.list
WHERE e.strategy = 'follow-up'
  AND e.undoes IS NULL
  AND NOT EXISTS (SELECT FROM listmonk_doctor.entries u WHERE u.undoes = e.run AND u.campaign_id = e.campaign_id)
  AND (e.campaign_id = ANY(%(ids)s) OR c.id = ANY(%(ids)s))
ORDER BY e.applied_at;
