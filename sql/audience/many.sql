-- As subscriptions.sql, for any number of campaigns at once: one chunk of the subscriptions of all their lists, each with
-- an 8-byte code above the id that says its list, its status, and where its dates lie among the campaigns' moments (one
-- microsecond after each start and each last change, sorted):
--   kind     4 x the place of the list among the sorted lists + 0 confirmed, 1 unconfirmed, 2 unsubscribed, 3 other
--   made     how many moments are not after created_at (no date: 0, as if it were older than all)
--   changed  how many are not after updated_at (no date: the number of moments + 1, a place of its own)
-- `made` has everybody, `changed` those once more whose two dates lie between different moments: pairs of both would be
-- far too many groups. `buckets` is the number of moments + 2. OFFSET 0 keeps the places from being looked up twice.
SELECT string_agg(int8send(subscriber_id::bigint | ((kind * %(buckets)s + made)::bigint << 32)), NULL) AS made,
       string_agg(int8send(subscriber_id::bigint | ((kind * %(buckets)s + changed)::bigint << 32)), NULL)
           FILTER (WHERE made <> changed) AS changed
FROM (
    SELECT subscriber_id,
           4 * width_bucket(list_id, %(lists)s::integer[]) - 4
               + CASE status WHEN 'confirmed' THEN 0 WHEN 'unconfirmed' THEN 1 WHEN 'unsubscribed' THEN 2 ELSE 3 END
               AS kind,
           CASE WHEN created_at < %(first)s THEN 0
                ELSE COALESCE(width_bucket(created_at, %(moments)s::timestamptz[]), 0) END AS made,
           CASE WHEN updated_at < %(first)s THEN 0
                ELSE COALESCE(width_bucket(updated_at, %(moments)s::timestamptz[]), %(buckets)s - 1) END AS changed
    FROM subscriber_lists
    WHERE (list_id = ANY(%(lists)s) OR %(by_page)s)
      AND (list_id + 0 = ANY(%(lists)s) OR NOT %(by_page)s)
      AND (ctid >= %(first_page)s::tid AND ctid < %(last_page)s::tid OR NOT %(by_page)s)
      AND (subscriber_id > %(above)s AND subscriber_id <= %(upto)s OR NOT %(by_id)s)
    OFFSET 0
) AS subscription;
