-- What was said when an order was called off.

-- Empty where nothing was said, and for shipments of before.
alter table shipment add column cancel_detail text not null default '';
