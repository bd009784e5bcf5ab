-- Coupons, and those that users have.

create table coupon (
    -- UUID version 7, so the order of ids is the order of making.
    coupon_id            uuid        primary key,
    code                 text        not null unique,
    display_name         text        not null,
    -- An encoded openorder.promotion.v1.CouponTerms; never changes.
    terms                bytea       not null,
    valid_from_time      timestamptz not null,
    valid_until_time     timestamptz not null,
    issue_limit          integer     not null check (issue_limit between 1 and 1000000000),
    issue_limit_per_user integer     not null check (issue_limit_per_user between 1 and 1000),
    -- Whoever issues one has this row's lock: no ordinal is given twice, and none beyond the limit.
    issued_count         integer     not null check (issued_count between 0 and issue_limit),
    version              bigint      not null check (version > 0),
    create_time          timestamptz not null,
    update_time          timestamptz not null,
    check (valid_from_time < valid_until_time)
) with (fillfactor = 50);

create table issued_coupon (
    -- UUID version 7. Ids are drawn by several processes: their order is nearly the order of issuing.
    issued_coupon_id uuid        primary key,
    coupon_id        uuid        not null,
    ordinal          integer     not null check (ordinal > 0),
    user_id          text        not null,
    -- openorder.promotion.v1.IssuedCouponState.
    state            smallint    not null check (state > 0),
    version          bigint      not null check (version > 0),
    issue_time       timestamptz not null,
    update_time      timestamptz not null
) with (fillfactor = 80);
-- What a user has, the newest first; also how many of one coupon.
create index issued_coupon_user on issued_coupon (user_id, issued_coupon_id desc);
create index issued_coupon_coupon on issued_coupon (coupon_id, issued_coupon_id desc);
