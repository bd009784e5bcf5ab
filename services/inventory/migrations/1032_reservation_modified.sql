-- Version of the order that last asked for other lines than were held; null where none did.
alter table reservation
    add column order_version bigint;
