-- Where the log ends: `written` is what was put into it up to now, `stored` what its files hold already; bytes.
-- late: whether transactions here are told done before the files hold them, as synchronous_commit = off has it.
SELECT clock_timestamp() AS now,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn AS written,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn AS stored,
       current_setting('synchronous_commit') = 'off' AS late;
