-- An aggregate is a type and an id: a SKU may read like the id of an order, and both have events in one topic.
-- The column costs nothing of what is there; the index is built anew, in one pass over the log, within no time limit.
set local statement_timeout = 0;
alter table event_log
    -- Such as `stock_level`. Empty for events of before there was the column: their types are not told apart.
    add column aggregate_type text collate "C" not null default '';
create unique index event_log_aggregate on event_log (aggregate_id, topic, aggregate_version, aggregate_type);
alter table event_log drop constraint event_log_aggregate_key;
-- Optimistic concurrency, as before: two writers can never both append version n of one aggregate.
alter table event_log add constraint event_log_aggregate_key unique using index event_log_aggregate;
