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
    update_time timestamptz not null,
    -- When it is looked at whether the order still needs what is held; null once it is known to be paid, and when nothing
    -- is held. No index: what is due is found by reservation_timer.
    expire_at   timestamptz
) with (fillfactor = 80);

-- When reservations are looked at: most are paid for by then. One row for the reservations of a batch.
create table reservation_timer (
    timer_id  bigint      generated always as identity primary key,
    due_at    timestamptz not null,
    order_ids uuid[]      not null
);
create index reservation_timer_due on reservation_timer (due_at);

-- Reservations that contradict their orders and are not healed by themselves.
create table reservation_mismatch (
    order_id     uuid        primary key,
    -- openorder.inventory.v1.ReservationMismatchKind: 1 open but expired, 2 shipped but held, 3 paid but released.
    kind         smallint    not null check (kind between 1 and 3),
    -- openorder.order.v1.OrderStatus when it was last compared.
    order_status smallint    not null,
    detect_time  timestamptz not null
);

-- How far the comparison of reservations with orders has come, and when it goes on: one instance at a time.
create table reconciler (
    single   boolean     primary key default true check (single),
    after_id uuid,
    next_at  timestamptz not null default now()
);
insert into reconciler default values;
