-- The first result of each command, in a third of the bytes: by one key of 16 bytes instead of two texts.

-- What a command of this caller with this request id is found by: the first 16 bytes of SHA-256.
create function command_key(caller text, request_id text) returns uuid immutable language sql as $$
    select encode(substring(sha256(int8send(octet_length(convert_to(caller, 'UTF8'))) || convert_to(caller, 'UTF8')
                                   || convert_to(request_id, 'UTF8')) for 16), 'hex')::uuid
$$;

create table command_result (
    created_at  timestamptz not null,
    command_key uuid        primary key,
    -- The first 16 bytes of SHA-256 of the method and of what is asked for.
    fingerprint uuid        not null,
    reply       bytea       not null
);
create index command_result_created_at on command_result using brin (created_at);

-- An instance of the version before keeps results in request_result and looks nowhere else, and it may run beside this
-- version. What it keeps is copied, so that this version finds it. What this version has done it cannot do again: it is
-- told that the database is away (57P03), and tells its caller to repeat the call.
create function copy_request_result() returns trigger language plpgsql as $$
begin
    insert into command_result (created_at, command_key, fingerprint, reply)
    values (new.created_at, command_key(new.caller, new.request_id),
            encode(substring(new.fingerprint for 16), 'hex')::uuid, new.reply)
    on conflict do nothing;
    if not found then
        raise exception 'this request was answered by a newer version' using errcode = '57P03';
    end if;
    return new;
end
$$;
create trigger request_result_copy before insert on request_result
    for each row execute function copy_request_result();
comment on table request_result is 'of the version before 0007; empty after request_retention_hours';
