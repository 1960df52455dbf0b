-- Is the journal there, and may this role use it? Read from the catalogs, since asking a table that may not be read
-- would end the transaction. No rows: the schema is missing. A table that is missing counts as neither.
SELECT has_schema_privilege(n.oid, 'USAGE') AS usable,
       count(c.oid) AS tables,
       coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')), false) AS readable,
       coalesce(bool_and(has_table_privilege(c.oid, 'INSERT')), false) AS writable
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c
       ON c.relnamespace = n.oid AND c.relname IN ('entries', 'accepted') AND c.relkind IN ('r', 'p')
WHERE n.nspname = 'listmonk_doctor'
GROUP BY n.oid;
