-- Sums of what is sold and of what becomes of orders. No table has a row an order: what an event changes is in the event.
--
-- Each row of a sum belongs to a shard, and the rows of all shards are added up when they are read. A batch writes the
-- rows of one shard, which no other batch has meanwhile: rows that everybody changes are waited for by nobody.

-- A set of sums. One counts, another one may be in the making beside it.
create table generation (
    generation     bigint   primary key generated always as identity,
    -- 1: the sums that count; 2: in the making; 3: obsolete, its rows are being deleted.
    state          smallint not null check (state between 1 and 3),
    -- What is in the sums from the beginning: the events of the order service's log up to this position whose id is not
    -- above this one. Events of a log that was restored from a backup have such positions again, and later ids.
    base_position  bigint   not null default 0,
    base_newest_id uuid     not null default '00000000-0000-0000-0000-000000000000'
);
create unique index generation_counts on generation ((true)) where state = 1;
insert into generation (state) values (1);

-- By the hour in which it happened.
create table sales (
    generation        bigint      not null,
    hour              timestamptz not null,
    currency          text        collate "C" not null,
    shard             smallint    not null,
    orders            bigint      not null,
    quantity          bigint      not null,
    -- Minor units; sums go beyond 64 bits before they are wrong.
    gross_minor       numeric     not null,
    net_minor         numeric     not null,
    refunded_orders   bigint      not null,
    refunded_quantity bigint      not null,
    refunded_minor    numeric     not null,
    primary key (generation, hour, currency, shard)
) with (fillfactor = 50);

-- By the day in which it happened; what is older than rankings look back is in the rows of 1970-01-01.
create table product_sales (
    generation    bigint   not null,
    sku           text     collate "C" not null,
    currency      text     collate "C" not null,
    day           date     not null,
    shard         smallint not null,
    quantity      bigint   not null,
    -- Minor units, after discounts.
    revenue_minor numeric  not null,
    -- The name in the newest of the events, and that event.
    display_name  text     not null,
    named_by      uuid     not null,
    primary key (generation, sku, currency, day, shard)
) with (fillfactor = 50);
create index product_sales_day on product_sales (generation, day);

-- Orders by the hour in which they were made, and the status that they have now. Rows may be below zero, sums are not.
create table order_count (
    generation bigint      not null,
    hour       timestamptz not null,
    -- openorder.order.v1.OrderStatus.
    status     smallint    not null,
    reason     text        collate "C" not null,
    shard      smallint    not null,
    orders     bigint      not null,
    primary key (generation, hour, status, reason, shard)
) with (fillfactor = 50);

-- The ranking in Redis.
create table ranking (
    only_row   boolean     primary key default true check (only_row),
    -- Stands in the names of its keys: databases that share a Redis do not meet.
    ranking_id uuid        not null default gen_random_uuid(),
    -- A ranking of another epoch is filled anew.
    epoch      bigint      not null default 1,
    -- The instance that writes it, until when, and a number that grows with each of its turns: Redis takes nothing from
    -- an instance whose turn is over.
    holder     uuid,
    held_until timestamptz not null default now(),
    fence      bigint      not null default 0
);
insert into ranking default values;

-- What has to be written to it: a row for each batch that sold something, until it is written.
create table ranking_change (
    change_id bigint generated always as identity primary key,
    skus      text[] not null
);

-- Rebuilds that operators asked for.
create table rebuild (
    rebuild_id        uuid        primary key,
    from_events       boolean     not null,
    -- openorder.analytics.v1.RebuildState.
    state             smallint    not null check (state between 1 and 5),
    -- The sums in the making, where orders are counted anew.
    generation        bigint,
    -- The ranking's epoch in which it is done.
    epoch             bigint,
    log_position      bigint      not null default 0,
    newest_id         uuid        not null default '00000000-0000-0000-0000-000000000000',
    events_read       bigint      not null default 0,
    events_unreadable bigint      not null default 0,
    products_ranked   bigint      not null default 0,
    requested_by      text        not null,
    reason            text        not null,
    waiting_for       text        not null default '',
    failure_reason    text        not null default '',
    start_time        timestamptz not null,
    update_time       timestamptz not null,
    end_time          timestamptz
);
-- One at a time.
create unique index rebuild_under_way on rebuild ((true)) where state in (1, 2);
