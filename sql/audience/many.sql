-- As subscriptions.sql, for any number of campaigns at once: one chunk of the subscriptions of all their lists, by list
-- and status. The code above each id says where a date lies among the campaigns' moments; those are sorted, and one
-- microsecond late, so that "how many are not after a date" is "how many are before it":
--   made     how many starts are before created_at (no date: 0, as if it were older than all)
--   kept     the same of updated_at (no date: -1, never the same as `made`; both dates the same: NULL, never another)
--   changed  how many starts and ends are before updated_at (no date: the number of them + 1, a place of its own)
-- In the column `made` is everybody with the first; in `changed` are those once more whose two dates lie between different
-- starts, with the third: as pairs both would be far too many groups. `places` is the number of starts and ends + 2.
-- Where all lists are wanted (every) the filter is left out.
SELECT list_id, status::text AS status, substr(made, first, %(piece)s) AS made, substr(changed, first, %(piece)s) AS changed
FROM (
    SELECT list_id, status,
           CASE WHEN %(wide)s THEN string_agg(int8send(subscriber_id::bigint | (made::bigint << 32)), NULL)
                ELSE string_agg(int4send(subscriber_id | (made << %(shift)s)), NULL) END AS made,
           CASE WHEN %(wide)s
                THEN string_agg(
                         int8send(
                             subscriber_id::bigint
                             | (COALESCE(width_bucket(updated_at, %(moments)s::timestamptz[]), %(places)s - 1)::bigint << 32)
                         ),
                         NULL
                     ) FILTER (WHERE made <> kept)
                ELSE string_agg(
                         int4send(
                             subscriber_id
                             | (COALESCE(width_bucket(updated_at, %(moments)s::timestamptz[]), %(places)s - 1) << %(shift)s)
                         ),
                         NULL
                     ) FILTER (WHERE made <> kept) END AS changed
    FROM (
        SELECT list_id, status, subscriber_id, updated_at,
               CASE WHEN created_at < %(first)s THEN 0
                    ELSE COALESCE(width_bucket(created_at, %(starts)s::timestamptz[]), 0) END AS made,
               CASE WHEN updated_at < %(first)s THEN 0
                    WHEN updated_at = created_at THEN NULL
                    ELSE COALESCE(width_bucket(updated_at, %(starts)s::timestamptz[]), -1) END AS kept
        FROM subscriber_lists
        WHERE (list_id = ANY(%(lists)s) OR %(by_page)s OR %(every)s)
          AND (list_id + 0 = ANY(%(lists)s) OR NOT %(by_page)s OR %(every)s OR %(one)s)
          AND (list_id + 0 = %(only)s OR NOT %(by_page)s OR %(every)s OR NOT %(one)s)
          AND (ctid >= %(first_page)s::tid AND ctid < %(last_page)s::tid OR NOT %(by_page)s)
          AND (subscriber_id > %(above)s AND subscriber_id <= %(upto)s OR NOT %(by_id)s)
    ) AS subscription
    GROUP BY list_id, status
) AS chunk, generate_series(1, length(made), %(piece)s) AS first;
