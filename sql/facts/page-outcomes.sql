-- How some transactions ended that left versions on a table's pages: their status (NULL: too old to be known), whether
-- this snapshot sees them, and when they committed, where the server keeps that (track_commit_timestamp).
-- Their numbers have 32 bits and are of this round or the one before.
SELECT x.xid,
       pg_xact_status(x.whole::text::xid8) AS status,
       pg_visible_in_snapshot(x.whole::text::xid8, pg_current_snapshot()) AS visible,
       CASE WHEN current_setting('track_commit_timestamp') = 'on'
            THEN pg_xact_commit_timestamp(x.xid::text::xid) END AS committed
FROM (SELECT u.xid, n.next / 4294967296 * 4294967296 + u.xid
                    - CASE WHEN u.xid >= mod(n.next, 4294967296) THEN 4294967296 ELSE 0 END AS whole
      FROM unnest(%(xids)s::bigint[]) AS u(xid),
           (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) AS n) AS x
WHERE x.whole >= 3
ORDER BY x.xid;
