-- The catalogue. Prices are in minor units of their currency, times have microseconds.

create table product (
    -- UUID version 7, so the order of ids is the order of making.
    product_id             uuid        primary key,
    sku                    text        not null,
    display_name           text        not null,
    description            text        not null,
    price_minor_units      bigint      not null check (price_minor_units between 1 and 1000000000000),
    price_currency         text        not null check (length(price_currency) = 3),
    -- Pieces that the stock of the SKU started with; the inventory service counts from there.
    initial_stock_quantity bigint      not null check (initial_stock_quantity between 0 and 1000000000),
    version                bigint      not null check (version > 0),
    create_time            timestamptz not null,
    update_time            timestamptz not null,
    -- Set once the product was deleted; the row stays.
    delete_time            timestamptz
) with (fillfactor = 80);

-- A SKU stands for one product at a time; a deleted one sets it free.
create unique index product_live_sku on product (sku) where delete_time is null;
