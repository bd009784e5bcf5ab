-- The product whose stock a level is: a SKU may belong to a later product, whose stock begins anew. 0: not known yet.
alter table stock_level add column product_number bigint not null default 0;
