-- Blocklisted people, packed as in subscriptions.sql (wide): the code is how many moments are before updated_at, as in
-- many.sql (no date: 0). Blocklisting by a bounce does not touch updated_at, so a date before a campaign's start proves nothing; a date
-- after it shows that somebody may have been blocklisted since.
SELECT string_agg(
           int8send(id::bigint | (COALESCE(width_bucket(updated_at, %(moments)s::timestamptz[]), 0)::bigint << 32)),
           NULL
       ) AS blocklisted
FROM subscribers
WHERE status = 'blocklisted';
