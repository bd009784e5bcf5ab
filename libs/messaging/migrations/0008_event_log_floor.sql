-- Where the event log begins: the events up to `position` are pruned, or are about to be, and nobody reads them any more.
-- The end of a transaction: its events are all there or all gone.
create table event_log_floor (
    only_row  boolean     primary key default true check (only_row),
    position  bigint      not null default 0,
    -- All events of this time or later are above the floor; null while nothing was pruned.
    kept_from timestamptz,
    -- When a page of the log was last read for a replay: the floor stays while that is not long ago.
    read_at   timestamptz not null default 'epoch'
) with (fillfactor = 50);
insert into event_log_floor default values;

-- Pruned rows leave room for new ones once they are vacuumed, which by default waits for a fifth of the table.
do $$
begin
    if not exists (select from pg_class where oid = 'event_log'::regclass
                                          and reloptions::text like '%autovacuum_vacuum_scale_factor%') then
        alter table event_log set (autovacuum_vacuum_scale_factor = 0.02);
    end if;
end $$;
