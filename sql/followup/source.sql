-- What a copy of a campaign may take over in this version: the columns of `campaigns`, whether campaigns have
-- attachments (2.5.0 and later), and whether lists have a description (2.3.0 and later).
SELECT (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('campaigns') AND attnum > 0 AND NOT attisdropped) AS columns,
       to_regclass('campaign_media') IS NOT NULL AS media,
       EXISTS (SELECT FROM pg_catalog.pg_attribute
               WHERE attrelid = to_regclass('lists') AND attname = 'description' AND NOT attisdropped) AS described;
