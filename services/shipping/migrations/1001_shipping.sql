-- Parcels of orders, and what carriers said of them.

-- One shipment an order, for ever: the order's id is the key. Whoever moves one has its row's lock: whether a parcel
-- leaves or is called off is decided here, once.
create table shipment (
    order_id               uuid        primary key,
    -- UUID version 7, so the order of ids is the order of making.
    shipment_id            uuid        not null unique,
    customer_id            text        not null,
    -- An encoded openorder.shipping.v1.Shipment with lines and address alone; never changes.
    body                   bytea       not null,
    create_time            timestamptz not null,
    -- openorder.shipping.v1.ShipmentState: 1 created, 2 shipped, 3 delivered, 4 cancelled.
    state                  smallint    not null check (state between 1 and 4),
    -- Empty as long as nobody said.
    carrier                text        not null,
    tracking_number        text        not null,
    -- openorder.order.v1.CancellationCause; null unless cancelled.
    cancel_reason          smallint    check ((cancel_reason is null) = (state <> 4)),
    ship_time              timestamptz check ((ship_time is null) = (state in (1, 4))),
    deliver_time           timestamptz check ((deliver_time is null) = (state <> 3)),
    -- What carriers said: as many rows are in shipment_event.
    event_count            integer     not null check (event_count >= 0),
    version                bigint      not null check (version > 0),
    update_time            timestamptz not null
) with (fillfactor = 70);
create index shipment_customer on shipment (customer_id, shipment_id desc);
-- What is to be handed to the carrier, and what is on its way.
create index shipment_state on shipment (state, shipment_id desc);

create table shipment_event (
    order_id          uuid        not null,
    -- 1, 2, 3 … in the order of recording; those up to the shipment's event_count are its own.
    ordinal           integer     not null check (ordinal > 0),
    shipment_event_id uuid        not null,
    -- openorder.shipping.v1.ShipmentEventType.
    type              smallint    not null check (type > 0),
    event_time        timestamptz not null,
    location          text        not null,
    carrier_event_id  text,
    create_time       timestamptz not null,
    primary key (order_id, ordinal),
    -- A carrier's event is recorded once.
    unique (order_id, carrier_event_id)
);
