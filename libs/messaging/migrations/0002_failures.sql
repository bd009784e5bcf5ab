-- What failed: parked messages and dead letters, their attempts, replays, and what was done with them.

-- Messages that failed, and later messages of the same key behind them, in order of `sequence`.
create table parked_message (
    sequence        bigint generated always as identity primary key,
    topic           text        collate "C" not null,
    -- Kafka key; `\0{partition}/{offset}` for a message that had none.
    key             bytea       not null,
    partition       integer     not null,
    "offset"        bigint      not null,
    -- Time of the Kafka record.
    recorded_at     timestamptz not null,
    -- Whether that time is the broker's (LogAppendTime) or the publisher's (CreateTime).
    recorded_by_broker boolean  not null,
    event_id        uuid        not null,
    event_type      text        not null,
    payload         bytea       not null,
    -- Names and hexadecimal values, in order.
    headers         jsonb       not null,
    -- 1 parked: its attempts are not used up, or it waits behind an earlier one of its key; 2 dead: its key waits for an operator.
    state           smallint    not null check (state in (1, 2)),
    attempts        integer     not null,
    -- Null for a dead one, and for one that waits behind an earlier one of its key: who takes that one away sets it.
    next_attempt_at timestamptz,
    -- The last failure: `retryable` or `permanent` (empty before the first one), a stable reason, a text.
    error_class     text        not null,
    error_reason    text        not null,
    error_text      text        not null,
    parked_at       timestamptz not null,
    dead_at         timestamptz,
    -- When its copy was published to the dead letter topic; null when that is still to be done.
    published_at    timestamptz,
    -- The replay that it is part of.
    replay_job_id   uuid
);
create index parked_message_key on parked_message (topic, key, sequence);
create index parked_message_due on parked_message (next_attempt_at) where next_attempt_at is not null;
create index parked_message_dead on parked_message (sequence) where state = 2;
create index parked_message_replay on parked_message (replay_job_id) where replay_job_id is not null;
create index parked_message_unpublished on parked_message (sequence) where state = 2 and published_at is null;

-- Failed attempts of the messages above; the oldest ones of a message give way.
create table parked_attempt (
    sequence     bigint      not null references parked_message on delete cascade,
    number       integer     not null,
    attempted_at timestamptz not null,
    error_class  text        not null,
    error_reason text        not null,
    error_text   text        not null,
    primary key (sequence, number)
);

-- Dead letters that are no more: discarded, or replayed with success.
create table dead_letter_history (
    sequence     bigint      primary key,
    topic        text        collate "C" not null,
    key          bytea       not null,
    partition    integer     not null,
    "offset"     bigint      not null,
    recorded_at  timestamptz not null,
    event_id     uuid        not null,
    event_type   text        not null,
    payload      bytea       not null,
    headers      jsonb       not null,
    error_class  text        not null,
    error_reason text        not null,
    error_text   text        not null,
    -- Objects of number, attempted_at, error_class, error_reason, error_text.
    attempts     jsonb       not null,
    dead_at      timestamptz,
    -- `discarded` or `replayed`.
    resolution   text        not null,
    resolved_at  timestamptz not null,
    resolved_by  text        not null,
    reason       text        not null
);
create index dead_letter_history_resolved_at on dead_letter_history using brin (resolved_at);

-- Replays of a set of dead letters that was frozen when the replay began.
create table replay_job (
    job_id          uuid        primary key,
    requested_by    text        collate "C" not null,
    request_id      text        collate "C" not null,
    reason          text        not null,
    filter          jsonb       not null,
    rate_per_second integer     not null,
    -- 1 running, 2 completed, 3 cancelled.
    state           smallint    not null check (state in (1, 2, 3)),
    items           integer     not null,
    created_at      timestamptz not null,
    -- Up to when the rate is used up.
    stepped_at      timestamptz not null,
    finished_at     timestamptz,
    constraint replay_job_request_key unique (request_id, requested_by)
);
create index replay_job_running on replay_job (created_at) where state = 1;

create table replay_item (
    job_id      uuid        not null references replay_job on delete cascade,
    -- Of the parked message.
    sequence    bigint      not null,
    event_id    uuid        not null,
    topic       text        collate "C" not null,
    key         bytea       not null,
    event_type  text        not null,
    -- 1 waiting, 2 released to the retries, 3 succeeded, 4 failed again, 5 cancelled, 6 discarded meanwhile.
    outcome     smallint    not null check (outcome between 1 and 6),
    released_at timestamptz,
    finished_at timestamptz,
    -- Why it failed again.
    error_reason text       not null default '',
    error_text   text       not null default '',
    primary key (job_id, sequence)
);
-- A dead letter is in one open replay only.
create unique index replay_item_open on replay_item (sequence) where outcome in (1, 2);
create index replay_item_waiting on replay_item (job_id, sequence) where outcome = 1;

-- The attempts of a message as the history keeps them.
create function attempts_of(of_sequence bigint) returns jsonb language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'number', number, 'attempted_at', attempted_at, 'error_class', error_class,
               'error_reason', error_reason, 'error_text', error_text) order by number), '[]'::jsonb)
    from parked_attempt where sequence = of_sequence
$$;
