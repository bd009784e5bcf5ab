-- Sagas in COMPENSATION_FAILED: found without looking at every order. Written when a compensation is given up, and when
-- it is taken up again or ends; no other order is ever in it.
create table compensation_failed (
    order_id uuid primary key
);
