-- Orders with their lines and their saga in one row; deadlines; the catalogue as orders need it.

-- What changes stands together: an update then logs little more than that.
create table orders (
    order_id         uuid        primary key,
    create_time      timestamptz not null,
    reservation_mode smallint    not null,
    payment_mode     smallint    not null,
    -- openorder.order.v1.OrderStatus: 5, 10, 15, 20, 25, 80, 90, 95.
    status           smallint    not null,
    -- The saga; numbers as in saga::{Step, Part}.
    saga_step          smallint    not null,
    saga_stock         smallint    not null,
    saga_payment       smallint    not null,
    saga_cause         smallint    not null,
    saga_undo_attempts integer     not null,
    saga_releases      bigint      not null,
    saga_refunds       bigint      not null,
    saga_step_time     timestamptz not null,
    update_time      timestamptz not null,
    version          bigint      not null,
    payment_id       text        not null,
    saga_reason      text        not null,
    status_reason    text        not null,
    status_detail    text        not null,
    total_minor      bigint,
    -- Null when a SKU was unknown: then there is no total.
    currency         text,
    customer_id      text        collate "C" not null,
    customer_email   text        not null,
    -- Context of the call that made the order, as in event_log: late work joins its trace.
    trace_context    bytea,
    -- [{"sku", "display_name", "quantity", "unit_price_minor", "line_total_minor"}]; prices null for an unknown SKU.
    lines            json        not null
) with (fillfactor = 50);
-- Order ids are UUID v7: their order is the order of creation. No index on what changes: updates stay in the page.
create index orders_customer on orders (customer_id, order_id desc);

-- Deadlines, looked at when they are due: the step may have moved on since. One row for the orders of a batch.
create table saga_timer (
    timer_id  bigint      generated always as identity primary key,
    due_at    timestamptz not null,
    order_ids uuid[]      not null
);
create index saga_timer_due on saga_timer (due_at);

-- Copy of the catalogue, by product.catalog.v1 and by asking the product service.
create table catalog_item (
    sku              text    primary key,
    product_id       uuid    not null,
    product_version  bigint  not null,
    display_name     text    not null,
    currency         text    not null,
    unit_price_minor bigint  not null,
    deleted          boolean not null
) with (fillfactor = 80);
