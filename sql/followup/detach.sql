-- Takes a draft's attachments away again, where each of them is one of those that it was given.
DELETE FROM campaign_media d
USING campaigns c
WHERE c.uuid = %(campaign)s AND d.campaign_id = c.id
