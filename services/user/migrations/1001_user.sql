-- Users, their sessions and keys, and what is kept of their passwords and tokens.

-- Whoever changes a user, a session or an API key has its user's row locked.
create table user_account (
    user_id           text        primary key,
    -- UUID version 7, drawn at registration: the order of ids is the order of registration.
    registration_id   uuid        not null unique,
    create_time       timestamptz not null,
    -- In lower case.
    email             text        not null unique,
    display_name      text        not null,
    -- A bit for each openorder.user.v1.UserRole: 2 customer, 4 operator, 8 service, 16 viewer.
    roles             smallint    not null check (roles > 0),
    -- openorder.user.v1.UserState: 1 active, 2 disabled.
    state             smallint    not null check (state between 1 and 2),
    -- Argon2id as a PHC string.
    password          text        not null,
    version           bigint      not null check (version > 0),
    -- Entries in user_activity, and how many of them were published to user.activity.v1.
    activity_count    bigint      not null check (activity_count >= 0),
    activity_version  bigint      not null check (activity_version between 0 and activity_count),
    -- Seconds since 1970: access tokens issued in this second or before are refused. 0: none is.
    tokens_after      bigint      not null check (tokens_after >= 0),
    -- When a failed sign-in was last written down.
    failure_time      timestamptz,
    update_time       timestamptz not null
) with (fillfactor = 70);

create table user_session (
    session_id          uuid        primary key,
    user_id             text        not null references user_account,
    client_id           text        not null,
    -- 32 random bytes: with the service's own key they make the refresh tokens.
    salt                bytea       not null check (octet_length(salt) = 32),
    create_time         timestamptz not null,
    -- When it ends however often it is refreshed.
    expire_time         timestamptz not null,
    -- Of the refresh token that was given last.
    generation          integer     not null check (generation >= 0),
    -- When that was given.
    rotate_time         timestamptz not null,
    -- When it ends if it is not used.
    refresh_expire_time timestamptz not null,
    -- When it was ended before its time.
    end_time            timestamptz
) with (fillfactor = 70);
create index user_session_open on user_session (user_id) where end_time is null;
create index user_session_expired on user_session (refresh_expire_time);
create index user_session_ended on user_session (end_time) where end_time is not null;

create table api_key (
    api_key_id    text        primary key,
    user_id       text        not null references user_account,
    display_name  text        not null,
    -- 32 random bytes: with the service's own key they make the secret.
    salt          bytea       not null check (octet_length(salt) = 32),
    -- SHA-256 of the secret.
    secret_hash   bytea       not null check (octet_length(secret_hash) = 32),
    create_time   timestamptz not null,
    expire_time   timestamptz,
    -- Written at most once a minute.
    last_use_time timestamptz,
    revoke_time   timestamptz
);
create index api_key_user on api_key (user_id, create_time desc);

create table user_activity (
    user_id     text        not null references user_account,
    -- 1, 2, 3 … of the user.
    number      bigint      not null check (number > 0),
    -- openorder.user.v1.UserActivityType.
    type        smallint    not null check (type > 0),
    time        timestamptz not null,
    actor       text        not null,
    session_id  uuid,
    api_key_id  text,
    -- As in user_account; 0: not told.
    roles       smallint    not null,
    peer_hash   text        not null,
    primary key (user_id, number)
);
create index user_activity_time on user_activity (time);

-- Access tokens that are refused before they end. Positions are given under the lock of the one row of
-- revocation_position, so that whoever has read up to one has read all before it.
create table revocation_position (
    only_row boolean primary key check (only_row),
    position bigint  not null
);
insert into revocation_position values (true, 0);
create table revocation (
    position    bigint      primary key,
    -- sid of the tokens, or null.
    session_id  text,
    -- sub of the tokens, or null.
    user_id     text,
    revoke_time timestamptz not null,
    expire_time timestamptz not null,
    check ((session_id is null) <> (user_id is null))
);
create index revocation_expired on revocation (expire_time);

-- The service's own keys, sealed by the key of its configuration.
create table server_key (
    key_id        text        primary key,
    -- 1: signs access tokens, 2: derives refresh tokens and API keys.
    purpose       smallint    not null check (purpose in (1, 2)),
    -- ChaCha20-Poly1305: 12 bytes of nonce, what is sealed, 16 bytes of tag; bound to key_id.
    sealed        bytea       not null,
    create_time   timestamptz not null,
    -- From when on it signs.
    activate_time timestamptz not null
);
create unique index server_key_deriving on server_key (purpose) where purpose = 2;
