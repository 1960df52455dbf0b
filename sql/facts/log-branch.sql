-- Which branch (timeline) of the log the server is on; 0 where the role may not know. A standby may be told of a branch
-- that it has not reached yet: whatever lies before the fork belongs to both.
SELECT CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
            ELSE coalesce(greatest(
                CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
                     THEN (SELECT timeline_id FROM pg_control_checkpoint()) END,
                CASE WHEN has_function_privilege('pg_control_recovery()', 'EXECUTE')
                     THEN (SELECT min_recovery_end_timeline FROM pg_control_recovery()) END,
                (SELECT received_tli FROM pg_stat_wal_receiver)), 0) END AS branch;
