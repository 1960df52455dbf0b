-- The lists of campaigns with their opt-in. list_id is NULL once a list was deleted; the name is kept.
SELECT cl.campaign_id, cl.id AS row_id, l.id AS list_id, cl.list_name, l.name, l.optin::text AS optin
FROM campaign_lists cl
LEFT JOIN lists l ON l.id = cl.list_id
WHERE cl.campaign_id = ANY(%(ids)s)
ORDER BY cl.campaign_id, cl.id;
