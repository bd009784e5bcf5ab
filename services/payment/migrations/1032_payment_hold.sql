-- A payment that is held back because the lines of its order are changed is known before it is decided: state 1, initiated.
-- Rows of before fit: they are not looked at.
alter table payment
    drop constraint payment_state_check,
    add constraint payment_state_check check (state between 1 and 4) not valid,
    -- Payments of the order as it was at this version, or before, are not taken; null where nothing was held back.
    add column order_version bigint;
