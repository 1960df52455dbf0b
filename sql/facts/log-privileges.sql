-- Whether the role may list and read the segments of the log, asked so that no error is raised or logged.
SELECT quote_ident(current_user) AS role,
       has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS listing,
       has_function_privilege('pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE') AS reading;
