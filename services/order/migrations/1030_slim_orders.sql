-- What an order only carries stands in one column, written once: a row is read, locked and changed by the others alone.
--
-- Instances of the version before go on with `orders`, which is a view from now on: it shows rows of both forms as the
-- table did, and writes what they write as they did. It is also what people read.
alter table orders rename to customer_order;
alter table customer_order
    -- openorder.internal.order.v1.StoredOrder; null in rows of the form before, which have columns for it.
    add column body bytea,
    alter column reservation_mode drop not null,
    alter column payment_mode drop not null,
    alter column customer_email drop not null,
    alter column lines drop not null,
    -- Null as well until there is something to say.
    alter column payment_id drop not null,
    alter column status_reason drop not null,
    alter column status_detail drop not null,
    alter column saga_cause drop not null,
    alter column saga_reason drop not null,
    alter column saga_undo_attempts drop not null,
    alter column saga_releases drop not null,
    alter column saga_refunds drop not null,
    -- The second of two versions of a row has a payment's id that the first one did not.
    set (fillfactor = 45);

-- A StoredOrder, and with it its StoredLines, as the columns that rows had for it. One loop over the bytes: a message is
-- fields one after the other, each a tag (number of the field * 8 + wire type) and then a number, or a length and so many
-- bytes. Fields that are not known are passed over.
create function order_body(
    body bytea,
    out customer_email text, out reservation_mode smallint, out payment_mode smallint, out currency text,
    out total_minor bigint, out trace_context bytea, out lines json)
    language plpgsql immutable strict parallel safe as $$
declare
    size constant integer := length(body);
    place integer := 0;
    -- Up to where the line goes that is being read; 0 between lines.
    line_end integer := 0;
    shift integer;
    byte integer;
    value bigint;
    tag bigint;
    content text;
    -- The line that is being read.
    sku text;
    display_name text;
    quantity bigint;
    unit_price bigint;
    line_total bigint;
    product_number bigint;
    all_lines text := '';
begin
    customer_email := '';
    loop
        if line_end > 0 and place >= line_end then
            all_lines := all_lines || ',' || json_build_object(
                'sku', sku, 'display_name', display_name, 'quantity', quantity, 'unit_price_minor', unit_price,
                'line_total_minor', line_total, 'currency', case when unit_price is not null then currency end,
                'product_number', product_number);
            line_end := 0;
        end if;
        exit when place >= size;
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
        if line_end = 0 and tag = 7 * 8 + 2 then
            line_end := place + value;
            sku := '';
            display_name := '';
            quantity := 0;
            unit_price := null;
            line_total := null;
            product_number := 0;
            continue;
        end if;
        if tag & 7 = 2 then
            if line_end = 0 and tag = 6 * 8 + 2 then
                trace_context := substr(body, place + 1, value::integer);
            else
                content := convert_from(substr(body, place + 1, value::integer), 'UTF8');
            end if;
            place := place + value;
        elsif tag & 7 <> 0 then
            raise exception 'no field of wire type % is read here', tag & 7;
        end if;
        if line_end = 0 then
            case tag
                when 1 * 8 + 2 then customer_email := content;
                when 2 * 8 then reservation_mode := value;
                when 3 * 8 then payment_mode := value;
                when 4 * 8 + 2 then currency := content;
                when 5 * 8 then total_minor := value;
                else null;
            end case;
        else
            case tag
                when 1 * 8 + 2 then sku := content;
                when 2 * 8 + 2 then display_name := content;
                when 3 * 8 then quantity := value;
                when 4 * 8 then unit_price := value;
                when 5 * 8 then line_total := value;
                when 6 * 8 then product_number := value;
                else null;
            end case;
        end if;
    end loop;
    lines := '[' || substr(all_lines, 2) || ']';
    -- Of an order without a total the columns did not have a currency; its lines have.
    if total_minor is null then
        currency := null;
    end if;
end $$;

create view orders as
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
       case when body is null then lines else (order_body(body)).lines end as lines
from customer_order;

create function orders_written() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into customer_order (
            order_id, create_time, reservation_mode, payment_mode, status, saga_step, saga_stock, saga_payment,
            saga_cause, saga_undo_attempts, saga_releases, saga_refunds, saga_step_time, update_time, version,
            payment_id, saga_reason, status_reason, status_detail, total_minor, currency, customer_id, customer_email,
            trace_context, lines)
        values (
            new.order_id, new.create_time, new.reservation_mode, new.payment_mode, new.status, new.saga_step,
            new.saga_stock, new.saga_payment, new.saga_cause, new.saga_undo_attempts, new.saga_releases,
            new.saga_refunds, new.saga_step_time, new.update_time, new.version, new.payment_id, new.saga_reason,
            new.status_reason, new.status_detail, new.total_minor, new.currency, new.customer_id, new.customer_email,
            new.trace_context, new.lines);
        return new;
    end if;
    if (new.order_id, new.create_time, new.customer_id, new.reservation_mode, new.payment_mode, new.total_minor,
        new.currency, new.customer_email, new.trace_context, new.lines::text)
       is distinct from
       (old.order_id, old.create_time, old.customer_id, old.reservation_mode, old.payment_mode, old.total_minor,
        old.currency, old.customer_email, old.trace_context, old.lines::text) then
        raise exception 'what order % was made of does not change', old.order_id;
    end if;
    update customer_order set
        status = new.status, saga_step = new.saga_step, saga_stock = new.saga_stock, saga_payment = new.saga_payment,
        saga_cause = new.saga_cause, saga_undo_attempts = new.saga_undo_attempts, saga_releases = new.saga_releases,
        saga_refunds = new.saga_refunds, saga_step_time = new.saga_step_time, update_time = new.update_time,
        version = new.version, payment_id = new.payment_id, saga_reason = new.saga_reason,
        status_reason = new.status_reason, status_detail = new.status_detail
    where order_id = old.order_id;
    return new;
end $$;

create trigger orders_written instead of insert or update on orders for each row execute function orders_written();
