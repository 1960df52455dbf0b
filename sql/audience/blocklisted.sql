-- Blocklisted people, packed as in subscriptions.sql. Blocklisting by a bounce does not touch updated_at, so a date
-- before the start proves nothing; a date after it shows that somebody may have been blocklisted since.
SELECT string_agg(int4send(id), NULL) AS blocklisted,
       string_agg(int4send(id), NULL) FILTER (WHERE updated_at > %(start)s) AS blocklisted_since,
       string_agg(int4send(id), NULL) FILTER (WHERE updated_at > %(start)s AND updated_at <= %(end)s)
           AS blocklisted_during
FROM subscribers
WHERE status = 'blocklisted';
