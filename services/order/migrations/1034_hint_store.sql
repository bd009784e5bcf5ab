-- Hints that instances tell each other by Redis.
create table hint_store (
    only_row boolean primary key default true check (only_row),
    -- Stands in the names of their keys: databases that share a Redis do not meet.
    store_id uuid    not null default gen_random_uuid()
);
insert into hint_store default values;
