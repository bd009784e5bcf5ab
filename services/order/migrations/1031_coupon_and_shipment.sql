-- What the saga knows of a coupon and of a shipment; null where neither was asked for. Instances of the version before
-- neither read nor write them.
alter table customer_order
    add column saga_coupon smallint,
    add column saga_shipment smallint,
    -- openorder.internal.order.v1.StoredCoupon.
    add column coupon bytea;
