-- What every service's database holds for messaging. Service migrations start at 1001.

-- The event log is event store and outbox at once: append-only, never updated when an event is published.
-- `position` is drawn only under the append lock, so it is commit order and a reader needs `position > last`.
-- Keys compare byte by byte (collation "C"), whatever the database's own rules are.
create table event_log (
    position          bigint generated always as identity (cache 1) primary key,
    aggregate_version bigint      not null,
    occurred_at       timestamptz not null,
    -- UUID v7 made with the event: unique without an index that says so.
    event_id          uuid        not null,
    event_type        text        not null,
    topic             text        collate "C" not null,
    aggregate_id      text        collate "C" not null,
    -- Kafka key; null where it is the aggregate's id, nearly always.
    key               text,
    -- W3C trace context of the span that created the event: trace id, span id, flags, 25 bytes; null for none.
    trace_context     bytea,
    tracestate        text,
    payload           bytea       not null,
    -- Optimistic concurrency: two writers can never both append version n of one aggregate.
    constraint event_log_aggregate_key unique (aggregate_id, topic, aggregate_version)
);

-- How far the relay has published. A relay that lost its place without knowing has an older `epoch` and cannot move it.
create table relay_cursor (
    only_row   boolean     primary key default true check (only_row),
    position   bigint      not null default 0,
    epoch      bigint      not null default 0,
    updated_at timestamptz not null default now()
) with (fillfactor = 50);
insert into relay_cursor default values;

-- Ids of the events that this service has taken over; written in the transaction of their effects.
-- They are UUID v7, so their order is the order of their making: old ones are found without another index.
create table inbox (
    event_id    uuid        primary key,
    received_at timestamptz not null
);

-- The first result of each command, by the caller's own request id.
create table request_result (
    created_at  timestamptz not null,
    request_id  text        collate "C" not null,
    caller      text        collate "C" not null,
    method      text        not null,
    fingerprint bytea       not null,
    reply       bytea       not null,
    -- The request id first: ids made in order of time stay neighbours.
    primary key (request_id, caller)
);
create index request_result_created_at on request_result using brin (created_at);
