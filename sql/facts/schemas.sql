-- The schemas that hold tables with the names of listmonk's, where each stands on the search_path (NULL: not on it),
-- and which of the tables the role may not read. The catalogue tells this to every role.
SELECT n.nspname AS schema,
       array_position(current_schemas(false), n.nspname) AS place,
       has_schema_privilege(n.oid, 'USAGE') AS usage,
       array_agg(c.relname::text ORDER BY c.relname) AS tables,
       coalesce(array_agg(c.relname::text ORDER BY c.relname)
                    FILTER (WHERE NOT has_table_privilege(c.oid, 'SELECT')), '{}') AS unreadable
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'pg\_%'
  AND c.relname IN ('bounces', 'campaign_lists', 'campaign_media', 'campaign_views', 'campaigns', 'link_clicks', 'links',
                    'lists', 'media', 'settings', 'subscriber_lists', 'subscribers', 'templates')
GROUP BY n.oid, n.nspname
ORDER BY n.nspname;
