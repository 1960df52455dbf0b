-- Some campaigns as the log must decode them: the row's version (xmin) and its place on the table's pages (ctid) tell
-- which version in the log is this one. No text but the name.
SELECT id, uuid::text AS uuid, name, status::text AS status, sent, to_send, last_subscriber_id, max_subscriber_id,
       started_at, updated_at, xmin::text AS xmin, ctid::text AS place
FROM campaigns
WHERE id = ANY(%(ids)s)
ORDER BY id;
