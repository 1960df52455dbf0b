-- Some pages of a table as they are, by pageinspect: versions that were replaced lie there until a clean-up.
SELECT b.number::bigint AS number,
       public.get_raw_page((%(table)s::oid::regclass)::text, 'main', b.number::bigint) AS page
FROM generate_series(%(first)s::int, %(last)s::int) AS b(number)
ORDER BY b.number;
