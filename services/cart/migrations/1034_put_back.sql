-- What an order had taken out is put back when the order is rejected: once.
alter table checkout add column put_back_time timestamptz check (put_back_time is null or order_id is not null);
-- An order that is rejected does not say by which checkout it was made.
create index checkout_order on checkout (order_id) where order_id is not null;
