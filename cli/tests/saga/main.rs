//! The saga over the real services: steps and compensations that fail, operators, and reservations that expire.
//!
//! - `shop`: order, catalogue, stock and payment, each of which can be away;
//! - `by_hand`: an order that its customer pays, or does not;
//! - `carts`: a cart is ordered once, and what was ordered leaves it;
//! - `catalogue`: what is sold while copies of the catalogue are behind;
//! - `coupons`: what an order pays with a coupon, and what becomes of that when the order does not go its way;
//! - `hints`: what instances tell each other spares work and decides nothing;
//! - `lists`: what a page looks at is bounded;
//! - `undo`: each step fails, each undo runs twice, and stock and money are as before;
//! - `modifications`: an order whose lines are changed;
//! - `operators`: compensations that fail are seen, tried again and settled;
//! - `pages`: lists and questions that do not fit into one answer;
//! - `parcels`: an order and its parcel, and who decides whether that leaves;
//! - `repeats`: calls that are made again, and names that stand for two things;
//! - `rows`: what the order service stores, as people and the version before see it;
//! - `reservations`: what is held for too long, and what contradicts its order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod by_hand;
mod carts;
mod catalogue;
mod coupons;
mod hints;
mod lists;
mod modifications;
mod operators;
mod pages;
mod parcels;
mod repeats;
mod reservations;
mod rows;
mod shop;
mod undo;
