-- Which of two products with one SKU is the newer one: a number, because a clock can be wrong. Drawn while no other
-- transaction makes a product (see persistence::draw_numbers), so its order is the order of making.
alter table product add column product_number bigint;
update product set product_number = numbered.number
from (select product_id, row_number() over (order by create_time, product_id) as number from product) as numbered
where product.product_id = numbered.product_id;
alter table product alter column product_number set not null;
create sequence product_number as bigint;
select setval('product_number', coalesce((select max(product_number) from product), 0) + 1, false);
