-- What every service's database holds for messaging. Service migrations start at 1001.

-- The event log is event store and outbox at once: append-only, never updated when an event is published.
-- `position` is drawn only under the append lock, so it is commit order and a reader needs `position > last`.
create table event_log (
    position          bigint generated always as identity (cache 1) primary key,
    event_id          uuid        not null,
    event_type        text        not null,
    topic             text        not null,
    key               text        not null,
    aggregate_id      text        not null,
    aggregate_version bigint      not null,
    payload           bytea       not null,
    traceparent       text        not null,
    tracestate        text        not null,
    occurred_at       timestamptz not null,
    constraint event_log_event_id_key unique (event_id),
    -- Optimistic concurrency: two writers can never both append version n of one aggregate.
    constraint event_log_aggregate_key unique (aggregate_id, topic, aggregate_version)
);

-- How far the relay has published. `epoch` fences a relay that lost its place without knowing.
create table relay_cursor (
    only_row   boolean     primary key default true check (only_row),
    position   bigint      not null default 0,
    epoch      bigint      not null default 0,
    updated_at timestamptz not null default now()
) with (fillfactor = 50);
insert into relay_cursor default values;

-- Ids of the events that this service has taken over; written in the transaction of their effects.
create table inbox (
    event_id    uuid        primary key,
    received_at timestamptz not null
);
create index inbox_received_at on inbox using brin (received_at);

-- Messages that failed, and later messages of the same key behind them, in order of `sequence`.
create table parked_message (
    sequence        bigint generated always as identity primary key,
    topic           text        not null,
    key             bytea       not null,
    partition       integer     not null,
    "offset"        bigint      not null,
    event_id        uuid        not null,
    event_type      text        not null,
    payload         bytea       not null,
    headers         jsonb       not null,
    -- 1 parked: tried again at next_attempt_at; 2 stopped: its key waits for an operator.
    state           smallint    not null,
    attempts        integer     not null,
    next_attempt_at timestamptz not null,
    last_error      text        not null,
    parked_at       timestamptz not null
);
create index parked_message_key on parked_message (topic, key, sequence);

-- The first result of each command, by the caller's own request id.
create table request_result (
    caller      text        not null,
    request_id  text        not null,
    method      text        not null,
    fingerprint bytea       not null,
    reply       bytea       not null,
    created_at  timestamptz not null,
    primary key (caller, request_id)
);
create index request_result_created_at on request_result using brin (created_at);
