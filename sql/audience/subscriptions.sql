-- One chunk of the pass over the subscriptions of one campaign's lists: subscriber ids, packed (4 bytes each, network
-- order) with a code above the `shift` bits of each, so that a bitmap is built from them without a list of numbers. Where
-- both do not fit, the code stands above 32 bits in 8 bytes (wide). Blocklisted people are in here; they come as a set of their own
-- (blocklisted.sql), since joining subscribers would cost more than twice the time. It comes in pieces of so many bytes,
-- so that the reader never holds all of it.
--
-- The code says what the subscription is today, and what its dates are worth against the campaign's start and end:
--   6 x (0 eligible, 1 not eligible, 2 unsubscribed) + 3 x (1 made after the start)
--     + (0 unchanged since the start, 1 changed between start and end or without a date, 2 changed after the end)
-- A subscription without a date of its making counts as made before the start. Most have the code 0: the first WHEN
-- finds them with the fewest comparisons.
--
-- A chunk is a range of pages (by_page), of ids (by_id: below PostgreSQL 14, where a range of pages is no way to read),
-- or all there is, by the index on list_id. `list_id + 0` keeps that index out of the chunks: each would read it all. Where
-- there is one list (one) a chunk compares with that (only): an array costs twice as much, for each row of the table.
-- What is constant is folded by the planner; `some` says that there are lists with double opt-in.
SELECT substr(packed, first, %(piece)s) AS packed
FROM (
    SELECT CASE WHEN %(wide)s THEN string_agg(int8send(subscriber_id::bigint | (code::bigint << 32)), NULL)
                ELSE string_agg(int4send(subscriber_id | (code << %(shift)s)), NULL) END AS packed
    FROM (
        SELECT subscriber_id,
               CASE
                   WHEN status = %(wanted)s AND (%(regular)s OR %(some)s AND list_id = ANY(%(double)s))
                        AND created_at <= %(start)s AND updated_at <= %(start)s THEN 0
                   ELSE CASE
                            WHEN status = 'unsubscribed' THEN 12
                            WHEN %(some)s AND list_id = ANY(%(double)s)
                                THEN CASE WHEN status = %(wanted)s THEN 0 ELSE 6 END
                            WHEN %(regular)s THEN 0
                            ELSE 6
                        END
                        + CASE WHEN created_at > %(start)s THEN 3 ELSE 0 END
                        + CASE WHEN updated_at <= %(start)s THEN 0 WHEN updated_at > %(end)s THEN 2 ELSE 1 END
               END AS code
        FROM subscriber_lists
        WHERE (list_id = ANY(%(lists)s) OR %(by_page)s)
          AND (list_id + 0 = ANY(%(lists)s) OR NOT %(by_page)s OR %(one)s)
          AND (list_id + 0 = %(only)s OR NOT %(by_page)s OR NOT %(one)s)
          AND (ctid >= %(first_page)s::tid AND ctid < %(last_page)s::tid OR NOT %(by_page)s)
          AND (subscriber_id > %(above)s AND subscriber_id <= %(upto)s OR NOT %(by_id)s)
    ) AS subscription
) AS chunk, generate_series(1, length(packed), %(piece)s) AS first;
