-- Where the log ends: `written` is what was put into it up to now, `stored` what its files hold already; bytes.
-- now: up to when nothing is missing. A standby knows up to the last commit that it replayed, or up to the primary's
-- last message where it has replayed all that the primary had written then; NULL: it cannot say.
-- late: whether transactions here are told done before the files hold them, as synchronous_commit = off has it.
-- behind: the seconds since `now` on a standby.
SELECT now, written, stored, late,
       CASE WHEN standby THEN coalesce(extract(epoch FROM clock_timestamp() - now), 0) ELSE 0 END::float AS behind
FROM (SELECT pg_is_in_recovery() AS standby,
             CASE WHEN pg_is_in_recovery()
                  THEN greatest(
                      pg_last_xact_replay_timestamp(),
                      (SELECT last_msg_send_time FROM pg_stat_wal_receiver
                       WHERE latest_end_lsn <= pg_last_wal_replay_lsn()),
                      CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
                           THEN (SELECT checkpoint_time FROM pg_control_checkpoint()) END)
                  ELSE clock_timestamp() END AS now,
             CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                  ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn AS written,
             CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                  ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn AS stored,
             current_setting('synchronous_commit') = 'off' AS late) AS seen;
