-- The first bytes of every segment in the server's folder of its log, the recycled ones too: a segment's own first page
-- tells which stretch of the log it holds. One that is renamed in this moment gives NULL.
SELECT name, pg_read_binary_file('pg_wal/' || name, 0, %(length)s, true) AS head
FROM pg_ls_waldir()
WHERE name ~ '^[0-9A-F]{24}$' AND size > 0
ORDER BY name;
