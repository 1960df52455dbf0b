-- The subscriptions of a list in groups that are alike but for the person (packed as in audience/subscriptions.sql).
-- People who were put on it by a follow-up and left alone are one group. meta is NULL before 2.5.0, which has none.
SELECT status::text, created_at, updated_at, to_jsonb(sl) -> 'meta' AS meta, to_jsonb(sl) ? 'meta' AS has_meta,
       string_agg(int4send(subscriber_id), NULL) AS people
FROM subscriber_lists sl
WHERE list_id = %(list)s
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4;
