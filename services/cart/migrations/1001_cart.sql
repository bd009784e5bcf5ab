-- Checkouts of carts. The carts themselves are in Redis.

-- The carts in Redis.
create table cart_store (
    only_row boolean primary key default true check (only_row),
    -- Stands in the names of its keys: databases that share a Redis do not meet.
    store_id uuid    not null default gen_random_uuid(),
    -- What stands in Redis as long as that keeps what it was given; null before it was first seen there.
    mark     uuid
);
insert into cart_store default values;

-- A cart that its customer ordered, as it was when the order was first asked for. What leaves the cart is decided here,
-- once: a row that has its order is never taken out again.
create table checkout (
    -- UUID version 7; the order's first event says it.
    checkout_id  uuid        primary key,
    -- Which of the customer's carts: they may have had another one since.
    cart_id      uuid        not null,
    -- What was put in after this version was not ordered.
    cart_version bigint      not null check (cart_version > 0),
    customer_id  text        not null,
    create_time  timestamptz not null,
    -- Null until the order is known.
    order_id     uuid,
    order_time   timestamptz check ((order_time is null) = (order_id is null))
) with (fillfactor = 80);
-- Old ones are deleted.
create index checkout_create_time on checkout (create_time);
