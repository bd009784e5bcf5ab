-- Documents of orders, in two sets: one is in use, and the other one is empty or being built anew.

create table order_view_a (
    order_id      uuid     primary key,
    -- An encoded openorder.internal.history.v1.StoredView. What follows is of it, to find it by. Empty: the row was made a
    -- moment ago by a transaction that is under way.
    body          bytea       not null default '',
    -- Null as long as only other parts have come than the order itself: nobody finds it.
    customer_id   text,
    create_time   timestamptz,
    order_version bigint      not null default 0,
    -- Number of the openorder.order.v1.OrderStatus.
    status        integer     not null default 0,
    status_reason text        not null default '',
    -- Both null where a SKU was unknown.
    currency      text,
    total_minor   bigint,
    skus          text[]      not null default '{}',
    -- Words of its SKUs, names, reason, id and tracking number, in lower case. No personal data.
    words         tsvector    not null default ''
) with (fillfactor = 70);
-- What changes with each event (status, version, body) is in no index: such a change stays on its page.
create index order_view_a_time on order_view_a (create_time, order_id) where create_time is not null;
create index order_view_a_customer on order_view_a (customer_id, create_time, order_id) where create_time is not null;
create index order_view_a_reason on order_view_a (status_reason, create_time, order_id)
    where create_time is not null and status_reason <> '';
create index order_view_a_found on order_view_a using gin (skus, words) where create_time is not null;

create table order_view_b (like order_view_a including all);
alter table order_view_b set (fillfactor = 70);

-- Which of them is in use (0: a, 1: b), and whether events go to the other one too. It is read under a share of advisory
-- lock 0x6f70656e0601 by whoever writes documents, and changed by who has that lock alone.
create table view_set (
    singleton   boolean  primary key default true check (singleton),
    current     smallint not null check (current in (0, 1)),
    is_building boolean  not null
);
insert into view_set (current, is_building) values (0, false);

create table rebuild (
    -- UUID version 7.
    rebuild_id       uuid        primary key,
    -- openorder.history.v1.RebuildState.
    state            smallint    not null check (state between 1 and 7),
    -- The half that is built.
    target           smallint    not null check (target in (0, 1)),
    requested_by     text        not null,
    reason           text        not null,
    create_time      timestamptz not null,
    end_time         timestamptz,
    -- The state that it ends in.
    ending           smallint    not null check (ending between 5 and 7),
    detail           text        not null,
    taken_over_count bigint      not null,
    taken_over_to    uuid
);
create unique index rebuild_running on rebuild ((true)) where state < 5;

-- The logs that a rebuild reads.
create table rebuild_source (
    rebuild_id     uuid    not null references rebuild on delete cascade,
    -- Their order.
    number         integer not null,
    service        text    not null,
    position       bigint  not null default 0,
    events_total   bigint  not null default 0,
    events_read    bigint  not null default 0,
    events_skipped bigint  not null default 0,
    is_counted     boolean not null default false,
    is_read        boolean not null default false,
    kept_from      timestamptz,
    primary key (rebuild_id, number)
);

-- Up to when what Kafka had acknowledged is taken over; null: not known yet.
create table view_freshness (
    topic          text    not null,
    partition      integer not null,
    included_until timestamptz,
    primary key (topic, partition)
);

-- How old the oldest message is that was not taken over is asked for all the time.
create index parked_message_recorded on parked_message (recorded_at);
