-- Unsubscriptions that came in through the list of a follow-up, for each list of the original on which the person is
-- still subscribed: what the subscription says, and what it would say. `newer`: it was changed after the person
-- unsubscribed from the follow-up, so it is the later word and is left alone.
SELECT o.subscriber_id, o.list_id, o.status::text, o.updated_at, f.updated_at AS since,
       coalesce(o.updated_at > f.updated_at, false) AS newer
FROM subscriber_lists f
JOIN subscriber_lists o ON o.subscriber_id = f.subscriber_id
WHERE f.list_id = %(list)s
  AND f.status = 'unsubscribed'
  AND o.list_id = ANY(%(originals)s)
  AND o.status <> 'unsubscribed'
ORDER BY o.subscriber_id, o.list_id;
