-- View `orders` could not be read where an order has a coupon or an address: `order_body` took the bytes of every field for
-- text. It reads as text what is text, and passes over what it does not show.
create or replace function order_body(
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
            -- Only these are text: of an order the mail address and the currency, of a line the SKU and its name.
            elsif (line_end = 0 and tag in (1 * 8 + 2, 4 * 8 + 2)) or (line_end > 0 and tag in (1 * 8 + 2, 2 * 8 + 2)) then
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
