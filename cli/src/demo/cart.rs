//! A visitor fills a cart, signs in, and orders what is in it.

use std::time::Instant;

use anyhow::Context;
use openorder_proto::cart::v1::cart_service_client::CartServiceClient;
use openorder_proto::cart::v1::{AddItemRequest, CheckoutRequest, GetCartRequest, MergeCartRequest};
use openorder_proto::order::v1::Order;
use uuid::Uuid;

use super::PATIENCE;
use super::people::People;
use super::story::POLL_INTERVAL;
use super::world::World;
use crate::gateway_client::failed;
use crate::output::line;
use crate::show::{mark, money};

/// The order of so many pieces, by way of the customer's cart.
pub(super) async fn check_out(world: &World, quantity: i32) -> anyhow::Result<Order> {
    let People { operator, customer, customer_id, customer_email, .. } = &world.people;
    // What a visitor does who has not signed in, the shop does for it.
    let mut shop = CartServiceClient::new(operator.clone());
    let mut client = CartServiceClient::new(customer.clone());
    // As a shop's page draws it for somebody who did not sign in.
    let visitor_id = Uuid::new_v4().to_string();
    let request = AddItemRequest {
        request_id: Uuid::now_v7().to_string(),
        visitor_id: visitor_id.clone(),
        sku: world.sku.clone(),
        quantity,
        ..AddItemRequest::default()
    };
    let added = shop.add_item(request).await;
    added.map_err(|status| failed("the product could not be put into a cart", &status))?;
    let request =
        MergeCartRequest { request_id: Uuid::now_v7().to_string(), visitor_id, customer_id: customer_id.clone() };
    let merged = client.merge_cart(request).await;
    let merged = merged.map_err(|status| failed("the visitor's cart could not be taken over", &status))?;
    let cart = merged.into_inner().cart.unwrap_or_default();
    line(format_args!(
        "   cart: a visitor puts {quantity} × {} in, signs in as {customer_email}, and is shown {}",
        world.sku,
        money(cart.total.as_ref()),
    ));
    let request = CheckoutRequest {
        request_id: Uuid::now_v7().to_string(),
        customer_id: customer_id.clone(),
        customer_email: customer_email.clone(),
        expected_version: cart.version,
        expected_total: cart.total,
        ..CheckoutRequest::default()
    };
    let placed = client.checkout(request).await;
    let placed = placed.map_err(|status| failed("the cart could not be checked out", &status))?;
    placed.into_inner().order.context("Checkout answered without an order")
}

/// Whether what was ordered has left the customer's cart.
pub(super) async fn is_emptied(world: &World) -> anyhow::Result<bool> {
    let mut client = CartServiceClient::new(world.people.customer.clone());
    let until = Instant::now() + PATIENCE;
    let left = loop {
        let request = GetCartRequest { customer_id: world.people.customer_id.clone(), ..GetCartRequest::default() };
        let answer = client.get_cart(request).await;
        let cart = answer.map_err(|status| failed("the cart could not be read", &status))?.into_inner().cart;
        let left = cart.unwrap_or_default().lines.len();
        if left == 0 || Instant::now() >= until {
            break left;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    match left {
        0 => line(format_args!("   {} cart: what was ordered has left it", mark(true))),
        _ => {
            line(format_args!("   {} cart: what was ordered is still in it; `openorder lag` may say why", mark(false)))
        }
    }
    Ok(left == 0)
}
