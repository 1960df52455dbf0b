-- The progress of some campaigns at this moment: one row each, found by the primary key, nothing locked.
-- at: when the statement's snapshot was taken, not later. xmin: the row's version; a heartbeat moves nothing else.
-- Columns of text that nobody needs for progress are left out, above all the bodies.
SELECT statement_timestamp() AS at, id, uuid::text AS uuid, name, status::text AS status, sent, to_send,
       last_subscriber_id, max_subscriber_id, started_at, updated_at, xmin::text AS xmin
FROM campaigns
WHERE id = ANY(%(ids)s)
ORDER BY id;
