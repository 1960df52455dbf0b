-- The settings that a diagnosis rests on, and every row's date.
-- The settings page never writes updated_at, so a row keeps the moment of its insertion: a key that a migration
-- brought dates that upgrade.
SELECT key,
       CASE WHEN key = ANY(%(keys)s) THEN value END AS value,
       updated_at
FROM settings;
