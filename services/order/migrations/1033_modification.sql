-- What is known of the last modification of an order's lines (openorder.internal.order.v1.StoredModification); null where none
-- was asked for. Instances of the version before neither read nor write it.
alter table customer_order
    add column modification bytea;
