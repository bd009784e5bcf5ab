-- An event is known by its place in its publisher's log: one bit for it, and not a row.

-- Which events this service has taken over, by their positions; set in the transaction of their effects.
create table inbox_position (
    -- Topic without the deployment's prefix, and the service whose log the positions are of.
    topic              text        collate "C" not null,
    source             text        collate "C" not null,
    -- Position / 1024: the positions that the row is of.
    chunk              bigint      not null,
    -- Partition that the events came from, so that instances do not wait for each other; -1 for events that were handed over.
    partition          integer     not null,
    -- Bit position % 1024 is set once the event has been taken over.
    taken              bit(1024)   not null,
    -- The newest of these events' ids (UUID v7: in order of time). An event with a newer one at a position that is taken is
    -- another event: its publisher's log was restored, and gives the position once more.
    newest_id          uuid        not null,
    updated_at         timestamptz not null,
    primary key (topic, source, chunk, partition)
) with (fillfactor = 40);

-- Events whose ids are older are known by rows of `inbox`, as they were before there were positions. A day more than now:
-- publishers' clocks may be ahead, and instances of the version before may go on for a while.
create table inbox_former (
    only_row boolean     primary key default true check (only_row),
    until    timestamptz not null
);
insert into inbox_former (until)
select case when exists (select from inbox) then now() + interval '1 day' else '1970-01-01 00:00:00+00'::timestamptz end;

-- Whether this service has taken over an event, by its row or by its position.
create function is_taken_over(of_event uuid, of_topic text, of_source text, of_position bigint) returns boolean
language sql stable as $$
    select exists (select from inbox where event_id = of_event)
        or exists (select from inbox_position
                   where topic = of_topic and source = of_source and chunk = of_position / 1024
                     and get_bit(taken, (of_position % 1024)::integer) = 1
                     and newest_id >= of_event)
$$;
