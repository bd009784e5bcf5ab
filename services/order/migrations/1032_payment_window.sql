-- How long an order waits for a caller to pay it, as view `orders` shows it. Rows stay as they are, and so does what
-- instances of the version before read and write: the view has one column more, at its end.

-- Field 10 of a StoredOrder; null for an order that the saga pays. One loop over the fields of the message, as in
-- `order_body`; lines are passed over.
create function order_payment_window_ms(body bytea) returns bigint
    language plpgsql immutable strict parallel safe as $$
declare
    size constant integer := length(body);
    place integer := 0;
    shift integer;
    byte integer;
    value bigint;
    tag bigint;
begin
    while place < size loop
        tag := 0;
        shift := 0;
        loop
            byte := get_byte(body, place);
            place := place + 1;
            tag := tag | ((byte & 127)::bigint << shift);
            exit when byte < 128;
            shift := shift + 7;
        end loop;
        value := 0;
        shift := 0;
        loop
            byte := get_byte(body, place);
            place := place + 1;
            value := value | ((byte & 127)::bigint << shift);
            exit when byte < 128;
            shift := shift + 7;
        end loop;
        if tag = 10 * 8 then
            return value;
        elsif tag & 7 = 2 then
            place := place + value;
        elsif tag & 7 <> 0 then
            raise exception 'no field of wire type % is read here', tag & 7;
        end if;
    end loop;
    return null;
end $$;

create or replace view orders as
select order_id,
       create_time,
       case when body is null then reservation_mode else (order_body(body)).reservation_mode end as reservation_mode,
       case when body is null then payment_mode else (order_body(body)).payment_mode end as payment_mode,
       status,
       saga_step,
       saga_stock,
       saga_payment,
       coalesce(saga_cause, 0::smallint) as saga_cause,
       coalesce(saga_undo_attempts, 0) as saga_undo_attempts,
       coalesce(saga_releases, 0::bigint) as saga_releases,
       coalesce(saga_refunds, 0::bigint) as saga_refunds,
       saga_step_time,
       update_time,
       version,
       coalesce(payment_id, '') as payment_id,
       coalesce(saga_reason, '') as saga_reason,
       coalesce(status_reason, '') as status_reason,
       coalesce(status_detail, '') as status_detail,
       case when body is null then total_minor else (order_body(body)).total_minor end as total_minor,
       case when body is null then currency else (order_body(body)).currency end as currency,
       customer_id,
       case when body is null then customer_email else (order_body(body)).customer_email end as customer_email,
       case when body is null then trace_context else (order_body(body)).trace_context end as trace_context,
       case when body is null then lines else (order_body(body)).lines end as lines,
       order_payment_window_ms(body) as payment_window_ms
from customer_order;
