-- Rows are looked up by their keys, whatever is in them, so the planner needs to know little: a tenth of the usual
-- sample, and nothing at all of contents. While tables grow fast, ANALYZE comes every minute, and sorting the contents
-- of 30,000 rows a table kept a core busy for seconds. A column that somebody has set otherwise is left alone; once all
-- are set this does nothing. In one order, so that instances that start together do not wait in a circle.
do $$
declare
    col record;
begin
    for col in
        select a.attrelid::regclass as of_table, a.attname as name, t.typname in ('bytea', 'json', 'jsonb', '_uuid') as is_content
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid
        where c.relkind = 'r' and c.relnamespace = current_schema::regnamespace and a.attnum > 0 and not a.attisdropped
          and coalesce(a.attstattarget, -1) = -1
        order by a.attrelid, a.attnum
    loop
        execute format('alter table %s alter column %I set statistics %s', col.of_table, col.name,
                       case when col.is_content then 0 else 10 end);
    end loop;
end
$$;
