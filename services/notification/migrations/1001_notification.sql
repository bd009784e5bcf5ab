-- What customers were told, and what they want to be told.

create table notification (
    -- UUID version 7: the order of the ids is the order in time.
    notification_id uuid        primary key,
    order_id        uuid        not null,
    user_id         text        not null,
    -- openorder.notification.v1.NotificationKind: 1 paid, 2 shipped, 3 delivered, 4 cancelled, 5 rejected.
    kind            smallint    not null check (kind between 1 and 5),
    -- openorder.notification.v1.NotificationChannel: 1 e-mail, 2 text message, 3 app.
    channel         smallint    not null check (channel between 1 and 3),
    -- openorder.notification.v1.NotificationStatus: 1 requested, 2 sent, 3 failed, 4 suppressed.
    status          smallint    not null check (status between 1 and 4),
    -- Empty where there is no address.
    recipient       text        not null,
    subject         text        not null,
    body            text        not null,
    -- 1, and one more each time that it is sent again on request.
    round           integer     not null,
    -- In all rounds.
    attempts        integer     not null,
    -- In this round; bounded.
    round_attempts  integer     not null,
    failure_reason  text        not null,
    -- W3C trace context of the work that made it.
    traceparent     text        not null,
    version         bigint      not null,
    -- Version in its stream of events.
    event_version   bigint      not null,
    create_time     timestamptz not null,
    -- When its round began.
    request_time    timestamptz not null,
    send_time       timestamptz,
    -- When a requested one is due; also the lease of whoever is sending it.
    next_attempt_at timestamptz,
    -- One notification an order, kind and channel, however often its event arrives.
    constraint notification_natural_key unique (order_id, kind, channel)
) with (fillfactor = 80);

create index notification_user on notification (user_id, notification_id);
-- Holds only what waits to be sent.
create index notification_due on notification (channel, next_attempt_at) where status = 1;

-- Attempts to hand a notification to a server of another.
create table delivery_attempt (
    notification_id uuid        not null,
    -- Number of the attempt, over all rounds.
    attempt         integer     not null,
    round           integer     not null,
    started_at      timestamptz not null,
    ended_at        timestamptz not null,
    -- 1 accepted, 2 failed and may succeed later, 3 refused for good.
    outcome         smallint    not null check (outcome between 1 and 3),
    -- Stable, UPPER_SNAKE; empty when accepted.
    reason          text        not null,
    -- What the server said, without addresses.
    detail          text        not null,
    primary key (notification_id, attempt)
);

-- A user without a row never said what it wants.
create table preferences (
    user_id       text        primary key,
    email_enabled boolean     not null,
    sms_enabled   boolean     not null,
    push_enabled  boolean     not null,
    -- Kinds, as in table notification.
    muted_kinds   smallint[]  not null,
    version       bigint      not null,
    update_time   timestamptz not null,
    -- E.164; empty: none.
    phone_number  text        not null,
    -- The push provider's name of the user's app; empty: none.
    push_token    text        not null
);
