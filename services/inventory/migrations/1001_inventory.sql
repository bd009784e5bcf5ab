-- Stock levels and reservations. Quantities are pieces.

create table stock_level (
    sku               text        primary key,
    on_hand_quantity  bigint      not null check (on_hand_quantity between 0 and 2000000000),
    reserved_quantity bigint      not null check (reserved_quantity between 0 and on_hand_quantity),
    version           bigint      not null,
    -- Version of the SKU's stream of events; reservations change the level without one.
    event_version     bigint      not null,
    update_time       timestamptz not null
) with (fillfactor = 50);

create table reservation (
    order_id    uuid        primary key,
    -- openorder.inventory.v1.ReservationState: 1 held, 2 shipped, 3 released, 4 rejected.
    state       smallint    not null check (state between 1 and 4),
    -- [{"sku": "...", "quantity": n}]
    lines       jsonb       not null,
    reason      text        not null,
    version     bigint      not null,
    create_time timestamptz not null,
    update_time timestamptz not null
) with (fillfactor = 80);
