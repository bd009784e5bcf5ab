-- The points of each customer.
create table account (
    customer_id text   primary key,
    points      bigint not null check (points >= 0),
    version     bigint not null
) with (fillfactor = 50);
