-- Orders with their lines and their saga in one row; deadlines; the catalogue as orders need it.

create table orders (
    order_id         uuid        primary key,
    customer_id      text        not null,
    customer_email   text        not null,
    -- openorder.order.v1.OrderStatus: 5, 10, 15, 20, 25, 80, 90, 95.
    status           smallint    not null,
    version          bigint      not null,
    reservation_mode smallint    not null,
    payment_mode     smallint    not null,
    -- [{"sku", "display_name", "quantity", "unit_price_minor", "line_total_minor"}]; prices null for an unknown SKU.
    lines            jsonb       not null,
    -- Null when a SKU was unknown: then there is no total.
    currency         text,
    total_minor      bigint,
    status_reason    text        not null,
    status_detail    text        not null,
    payment_id       text        not null,
    -- Context of the call that made the order: late work joins its trace.
    traceparent      text        not null,
    -- The saga; numbers as in saga::{Step, Part}.
    saga_step          smallint    not null,
    saga_stock         smallint    not null,
    saga_payment       smallint    not null,
    saga_cause         smallint    not null,
    saga_reason        text        not null,
    saga_undo_attempts integer     not null,
    saga_releases      bigint      not null,
    saga_refunds       bigint      not null,
    saga_step_time     timestamptz not null,
    create_time      timestamptz not null,
    update_time      timestamptz not null
) with (fillfactor = 50);
-- Order ids are UUID v7: their order is the order of creation. No index on what changes: updates stay in the page.
create index orders_customer on orders (customer_id, order_id desc);

-- One deadline an order, looked at when it is due: the step may have moved on since.
create table saga_timer (
    order_id uuid        primary key,
    due_at   timestamptz not null
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
