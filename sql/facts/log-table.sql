-- How the log names a table (campaigns, or the server's own list of tables, which tells of older files of it), and how its rows are laid out, dropped columns included.
-- file: the number of its file. space: 0 in pg_class means the database's own tablespace. system: "" where the role
-- may not read it. labels: what the numbers of enums mean.
SELECT t.oid::bigint AS number,
       pg_relation_filenode(t.oid)::bigint AS file,
       d.oid::bigint AS database,
       CASE WHEN t.reltablespace = 0 THEN d.dattablespace ELSE t.reltablespace END::bigint AS space,
       t.relkind::text AS kind,
       t.relpersistence::text AS persistence,
       current_setting('server_version_num')::int / 10000 AS major,
       current_setting('block_size')::int AS page,
       CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system()) ELSE '' END AS system,
       (SELECT jsonb_agg(jsonb_build_array(
                   a.attnum, a.attname, a.attlen, a.attalign,
                   CASE WHEN y.typtype = 'e' THEN 'enum' ELSE coalesce(y.typname, '') END,
                   CASE WHEN a.atthasmissing THEN a.attmissingval::text END) ORDER BY a.attnum)
        FROM pg_attribute AS a LEFT JOIN pg_type AS y ON y.oid = a.atttypid
        WHERE a.attrelid = t.oid AND a.attnum > 0) AS attributes,
       (SELECT coalesce(jsonb_object_agg(e.oid::text, e.enumlabel), '{}') FROM pg_enum AS e) AS labels
FROM pg_class AS t, pg_database AS d
WHERE t.oid = to_regclass(%(table)s) AND d.datname = current_database();
