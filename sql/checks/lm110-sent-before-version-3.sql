-- code: LM110
-- name: sent-before-version-3
-- severity: info
-- tags: campaigns
--
-- What it finds: campaigns that were last sent by listmonk 2.5.1 or older, all of them in one line.
--
-- Why it matters: these versions count a person as sent when the batch is fetched, before anything is sent (M15).
-- Their counters can say 100 % while hundreds were lost at a restart or after a refused recipient, so no other
-- check looks at them.
--
-- What to do: nothing, unless one of them is in doubt. Then only the relay's log can tell who was mailed.
WITH installed AS MATERIALIZED (  -- the version that listmonk recorded last, and the oldest one
    SELECT string_to_array(substring(tags ->> -1 FROM '\d+\.\d+\.\d+'), '.')::int[] AS version,
           (SELECT min(string_to_array(substring(tag FROM '\d+\.\d+\.\d+'), '.')::int[])
              FROM jsonb_array_elements_text(tags) AS tag) AS oldest
      FROM (SELECT CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END AS tags
              FROM settings WHERE key = 'migrations' LIMIT 1) AS migrations
),
dated AS MATERIALIZED (  -- an upgrade is as old as the first setting that it brought: listmonk never dates them anew
    SELECT version,
           CASE WHEN oldest >= '{3,0,0}' THEN '-infinity' WHEN version < '{3,0,0}' THEN 'infinity'
                ELSE coalesce(min(updated_at) FILTER (WHERE key IN (
                    'app.cache_slow_queries', 'bounce.postmark', 'security.oidc', 'bounce.forwardemail')), '-infinity')
           END::timestamptz AS v3_since,
           CASE WHEN oldest >= '{4,0,0}' THEN '-infinity' WHEN version < '{4,0,0}' THEN 'infinity'
                ELSE coalesce(min(updated_at) FILTER (WHERE key IN (
                    'security.oidc', 'bounce.forwardemail', 'privacy.domain_allowlist')), '-infinity')
           END::timestamptz AS v4_since,
           CASE WHEN oldest >= '{6,1,0}' THEN '-infinity' WHEN version < '{6,1,0}' THEN 'infinity'
                ELSE coalesce(min(updated_at) FILTER (WHERE key IN (
                    'bounce.lettermint', 'privacy.disable_tracking', 'bounce.azure')), 'infinity')
           END::timestamptz AS v6_1_since
      FROM settings CROSS JOIN installed
     GROUP BY version, oldest
)
SELECT NULL::int AS id,
       format('%s %s', count(*), CASE count(*) WHEN 1 THEN 'campaign' ELSE 'campaigns' END) AS label,
       format('Last sent by listmonk 2.5.1 or older (ids %s to %s, the latest on %s UTC): sent counts who was fetched, '
              'so it cannot show whether everybody was mailed; it is below to_send in %s.',
              min(c.id), max(c.id), to_char(max(c.updated_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
              count(*) FILTER (WHERE c.sent < c.to_send)) AS detail,
       NULL::jsonb AS fix
  FROM campaigns c CROSS JOIN dated d
 WHERE c.status IN ('running', 'paused', 'cancelled', 'finished')
   AND c.started_at IS NOT NULL
   AND c.updated_at < d.v3_since
HAVING count(*) > 0;
