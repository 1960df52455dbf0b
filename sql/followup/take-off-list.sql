-- Takes people off a list again who stand on it exactly as they were put there: the same status, and not touched since
-- the list was made.
DELETE FROM subscriber_lists sl
USING lists l, unnest(%(firsts)s::integer[], %(lasts)s::integer[]) AS r (first, last),
      generate_series(r.first, r.last) AS chosen (id)
WHERE l.uuid = %(list)s
  AND sl.list_id = l.id
  AND sl.subscriber_id = chosen.id
  AND sl.status = 'confirmed'
  AND sl.created_at = l.created_at
  AND sl.updated_at = l.created_at
