-- How large the table of subscriptions is, for the choice of a way to read it. Nothing is counted.
SELECT current_setting('server_version_num')::integer AS server,
       (pg_relation_size('subscriber_lists') / current_setting('block_size')::integer)::bigint AS pages,
       (SELECT reltuples::bigint FROM pg_class WHERE oid = 'subscriber_lists'::regclass) AS tuples,
       (SELECT COALESCE(max(subscriber_id), 0) FROM subscriber_lists) AS last_id,
       (SELECT count(*) FROM lists) AS lists;
