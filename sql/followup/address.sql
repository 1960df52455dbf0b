-- Addresses a new draft to a new list. listmonk keeps the list's name beside its id.
INSERT INTO campaign_lists (campaign_id, list_id, list_name)
SELECT c.id, l.id, l.name
FROM campaigns c, lists l
WHERE c.uuid = %(campaign)s AND l.uuid = %(list)s
