-- Takes a draft's list away again, where it is still its own.
DELETE FROM campaign_lists cl
USING campaigns c, lists l
WHERE c.uuid = %(campaign)s AND l.uuid = %(list)s AND cl.campaign_id = c.id AND cl.list_id = l.id
