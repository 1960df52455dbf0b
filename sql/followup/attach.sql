-- Gives a new draft the attachments of the campaign that it is a copy of.
INSERT INTO campaign_media (campaign_id, media_id, filename)
SELECT c.id, m.media_id, m.filename
FROM campaigns c, campaign_media m
WHERE c.uuid = %(campaign)s AND m.campaign_id = %(original)s
