-- Acts of operators: the intent by its request id, and the trail of who did what, when, why, and how it ended.

-- One intent: what a request id stands for, how far it is, and how it ended.
create table act (
    caller      text        collate "C" not null,
    request_id  text        collate "C" not null,
    method      text        not null,
    -- SHA-256 of method and request: another request under the same id is refused.
    fingerprint bytea       not null,
    -- The set that the act is about, once it is fixed; it is never chosen again.
    frozen      jsonb,
    -- How far it came, for one that goes on where it stood.
    progress    jsonb,
    -- How it ended; told again to who asks again.
    outcome     jsonb,
    -- The latest entry in the trail.
    audit_entry_id uuid     not null,
    -- Touched while somebody works on it.
    alive_at    timestamptz not null,
    primary key (caller, request_id)
) with (fillfactor = 70);
create index act_request on act (request_id);

-- Written before an act begins.
create table audit_entry (
    -- UUID v7: the order of ids is the order of acts.
    audit_entry_id uuid        primary key,
    method         text        not null,
    caller         text        collate "C" not null,
    reason         text        not null,
    request_id     text        collate "C" not null,
    arguments      jsonb       not null,
    trace_id       text        not null,
    started_at     timestamptz not null
);
create index audit_entry_request on audit_entry (caller, request_id);

-- Written when an act ended.
create table audit_outcome (
    audit_entry_id uuid        primary key references audit_entry,
    -- 2 succeeded, 3 refused, 4 failed.
    state          smallint    not null check (state in (2, 3, 4)),
    outcome        jsonb       not null,
    ended_at       timestamptz not null
);

-- The trail only grows.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit trail is append-only';
end
$$;
create trigger audit_entry_append_only before update or delete or truncate on audit_entry
    for each statement execute function refuse_change();
create trigger audit_outcome_append_only before update or delete or truncate on audit_outcome
    for each statement execute function refuse_change();
