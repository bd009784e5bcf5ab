-- The little service of these tests: a ledger of entries a key, in the order in which they were applied.
create table ledger (
    key      text   not null,
    number   bigint not null,
    position bigint generated always as identity,
    primary key (key, number)
);
