-- Coupons are used for orders.

alter table issued_coupon
    -- The order that it is held for, or was redeemed by; null while ISSUED.
    add column order_id uuid;

create table coupon_use (
    -- One at most for an order, for ever.
    order_id         uuid        primary key,
    issued_coupon_id uuid        not null,
    user_id          text        not null,
    -- 1 held, 2 redeemed, 3 released, 4 refused.
    state            smallint    not null check (state > 0),
    -- openorder.promotion.v1.CouponRejectionReason; null unless refused.
    reason           smallint,
    -- What it takes off in all, in minor units of the currency; null where it was never held.
    discount_minor   bigint      check (discount_minor > 0),
    currency         text,
    -- The same by line: an encoded openorder.promotion.v1.CouponUse that has line_discounts alone.
    line_discounts   bytea,
    -- Events of its own: those that move no coupon.
    version          bigint      not null check (version >= 0),
    create_time      timestamptz not null,
    update_time      timestamptz not null
) with (fillfactor = 70);
