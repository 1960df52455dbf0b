-- Progress rows of campaigns, never a body. xmin is the row's version: while a pipe is open it moves every 5 s.
SELECT id, uuid::text AS uuid, name, type::text AS type, status::text AS status, sent, to_send,
       last_subscriber_id, max_subscriber_id, messenger, created_at, started_at, updated_at, send_at,
       xmin::text AS xmin
FROM campaigns
WHERE id = ANY(%(ids)s)
ORDER BY id;
