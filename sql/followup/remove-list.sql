-- Removes a list that nothing refers to any more, if it is as it was: deleting it would silently take subscriptions
-- with it (ON DELETE CASCADE) and empty the rows of campaigns (ON DELETE SET NULL).
DELETE FROM lists l
WHERE l.uuid = %(list)s
  AND l.type = 'private'
  AND l.optin = 'single'
  AND l.name = %(name)s
  AND l.updated_at = l.created_at
  AND NOT EXISTS (SELECT FROM subscriber_lists sl WHERE sl.list_id = l.id)
  AND NOT EXISTS (SELECT FROM campaign_lists cl WHERE cl.list_id = l.id)
