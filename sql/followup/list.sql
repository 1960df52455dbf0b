-- A list's whole row, the other campaigns that use it, and whether a role names it (roles: 4.0.0 and later).
SELECT to_jsonb(l) AS whole,
       (SELECT array_agg(DISTINCT cl.campaign_id ORDER BY cl.campaign_id) FROM campaign_lists cl
        WHERE cl.list_id = l.id AND cl.campaign_id <> %(campaign)s) AS others,
       to_regclass('roles') IS NOT NULL AS roles
FROM lists l
WHERE l.uuid = %(list)s;
