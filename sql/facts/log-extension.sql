-- Whether an extension is installed here and may be used, or could be installed; asked so that no error is raised.
-- version, place: "" where it is not installed. offered: whether its files are on the server. usable: whether the role
-- may call all the functions that are named (their signatures begin after the schema).
SELECT coalesce(e.extversion, '') AS version,
       coalesce(n.nspname, '') AS place,
       EXISTS (SELECT FROM pg_available_extensions AS a WHERE a.name = %(name)s) AS offered,
       e.oid IS NOT NULL AND has_schema_privilege(n.oid, 'USAGE')
       AND coalesce((SELECT bool_and(has_function_privilege(p.oid, 'EXECUTE')) AND count(*) >= cardinality(%(names)s::text[])
                     FROM pg_proc AS p
                     WHERE p.pronamespace = n.oid AND p.proname = ANY(%(names)s::text[])), false) AS usable,
       current_setting('is_superuser') = 'on' AS superuser,
       pg_is_in_recovery() AS standby,
       current_setting('server_version_num')::int / 10000 AS major,
       quote_ident(current_user) AS role,
       current_database() AS database
FROM (SELECT) AS one
LEFT JOIN pg_extension AS e ON e.extname = %(name)s
LEFT JOIN pg_namespace AS n ON n.oid = e.extnamespace;
