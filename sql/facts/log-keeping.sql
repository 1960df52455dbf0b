-- What decides how long the log's segments stay, in bytes and seconds. end: up to where their files are taken (a standby
-- takes what it has not replayed yet, too). redo, begun: the last checkpoint; NULL where the role may not know.
-- trigger: how much log brings the next one before its time. spare: how much is at least kept for later use; keep: how
-- much stays behind the end. recycle: whether what is not needed any more is kept for later use at all.
SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn AS "end",
       last.redo_lsn - '0/0'::pg_lsn AS redo,
       last.checkpoint_time AS begun,
       extract(epoch FROM current_setting('checkpoint_timeout')::interval)::float AS period,
       pg_size_bytes(current_setting('max_wal_size'))
           / (1 + current_setting('checkpoint_completion_target')::float) AS trigger,
       pg_size_bytes(current_setting('min_wal_size')) AS spare,
       pg_size_bytes(current_setting('wal_keep_size')) AS keep,
       current_setting('wal_recycle')::boolean AS recycle
FROM (SELECT 1) AS one
LEFT JOIN LATERAL (SELECT redo_lsn, checkpoint_time FROM pg_control_checkpoint()
                   WHERE has_function_privilege('pg_control_checkpoint()', 'EXECUTE')) AS last ON true;
