-- Which of two products with one SKU is the newer one; 0: not known yet.
alter table catalog_item add column product_number bigint not null default 0;

-- Up to when the copy of the catalogue is known to hold every change that was published.
create table catalogue_state (
    only_row    boolean     primary key default true check (only_row),
    fresh_until timestamptz not null default now()
);
insert into catalogue_state default values;
