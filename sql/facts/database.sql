-- What tells this database from any other: the cluster's own number where the role may read it (else its age is not
-- known and the number is empty), the database's name and number, and the number of the table of campaigns.
SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system())
            ELSE '' END AS cluster,
       current_database()::text AS database,
       (SELECT oid::text FROM pg_database WHERE datname = current_database()) AS number,
       to_regclass('campaigns')::oid::text AS campaigns;
