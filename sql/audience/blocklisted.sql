-- Blocklisted people, packed as in many.sql: the code above the id is how many moments are not after updated_at (no date:
-- 0). Blocklisting by a bounce does not touch updated_at, so a date before a campaign's start proves nothing; a date
-- after it shows that somebody may have been blocklisted since.
SELECT string_agg(
           int8send(id::bigint | (COALESCE(width_bucket(updated_at, %(moments)s::timestamptz[]), 0)::bigint << 32)),
           NULL
       ) AS blocklisted
FROM subscribers
WHERE status = 'blocklisted';
