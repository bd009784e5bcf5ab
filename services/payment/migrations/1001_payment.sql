-- Wallets and payments. Amounts are whole minor units of their currency.

create table wallet (
    user_id             text        primary key,
    -- ISO 4217, fixed by the first charge.
    currency            text        not null check (length(currency) = 3),
    balance_minor_units bigint      not null check (balance_minor_units >= 0),
    version             bigint      not null check (version > 0),
    update_time         timestamptz not null
) with (fillfactor = 50);

-- One payment an order, for ever: the order's id is the key.
create table payment (
    order_id           uuid        primary key,
    payment_id         uuid        not null,
    user_id            text        not null,
    -- Both null for an order that was called off before its amount was known.
    currency           text        check (length(currency) = 3),
    amount_minor_units bigint      check (amount_minor_units > 0),
    -- openorder.payment.v1.PaymentState: 2 completed, 3 failed, 4 refunded.
    state              smallint    not null check (state between 2 and 4),
    -- openorder.payment.v1.PaymentFailureReason; 0 unless failed.
    failure_reason     smallint    not null check ((failure_reason = 0) = (state <> 3)),
    -- openorder.payment.v1.PaymentRefundReason; 0 unless refunded.
    refund_reason      smallint    not null check (refund_reason = 0 or state = 4),
    version            bigint      not null check (version > 0),
    create_time        timestamptz not null,
    update_time        timestamptz not null,
    check ((currency is null) = (amount_minor_units is null)),
    -- Money that was taken is known.
    check (state = 3 or amount_minor_units is not null)
) with (fillfactor = 80);
-- Payment ids are UUID v7: their order is the order of creation. No index on what changes: updates stay in the page.
create unique index payment_payment_id on payment (payment_id);
create index payment_user on payment (user_id, payment_id desc);
