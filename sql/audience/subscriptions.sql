-- One pass over the subscriptions of a campaign's lists: subscriber ids, packed (4 bytes each, network order) per
-- class, so that a bitmap is built from them without a list of numbers. Blocklisted people are in here; they come
-- as a set of their own (blocklisted.sql), since joining subscribers would cost more than twice the time.
--
-- Classes by what the subscription says today and by its dates against the campaign's start:
--   sure       eligible, and unchanged since before the start
--   undatable  eligible, subscribed before the start, changed since: what it said at the start is not known
--   joined     eligible, subscribed after the start
--   left_since not eligible, subscribed before the start, changed since: it may have been eligible
--   left_during  the part of left_since that changed while the campaign was still being sent
--   never      not eligible, and unchanged since before the start
--   fetchable  whatever versions before 4.0.0 count when they cut a batch: anything but unsubscribed
SELECT string_agg(int4send(subscriber_id), NULL) FILTER (WHERE eligible AND before AND unchanged) AS sure,
       string_agg(int4send(subscriber_id), NULL) FILTER (WHERE eligible AND before AND NOT unchanged) AS undatable,
       string_agg(int4send(subscriber_id), NULL) FILTER (WHERE eligible AND NOT before) AS joined,
       string_agg(int4send(subscriber_id), NULL) FILTER (WHERE NOT eligible AND before AND NOT unchanged) AS left_since,
       string_agg(int4send(subscriber_id), NULL)
           FILTER (WHERE NOT eligible AND before AND NOT unchanged AND during) AS left_during,
       string_agg(int4send(subscriber_id), NULL) FILTER (WHERE NOT eligible AND before AND unchanged) AS never,
       string_agg(int4send(subscriber_id), NULL) FILTER (WHERE %(fetchable)s AND fetchable) AS fetchable
FROM (
    SELECT subscriber_id,
           CASE WHEN list_id = ANY(%(double)s) THEN status::text = %(wanted)s
                ELSE %(regular)s AND status::text <> 'unsubscribed' END AS eligible,
           COALESCE(created_at <= %(start)s, true) AS before,
           COALESCE(updated_at <= %(start)s, false) AS unchanged,
           COALESCE(updated_at <= %(end)s, true) AS during,
           status::text <> 'unsubscribed' AS fetchable
    FROM subscriber_lists
    WHERE list_id = ANY(%(lists)s)
) AS subscription;
