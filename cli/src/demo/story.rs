//! One order: placed, watched to its end, explained by its timeline.

use std::time::{Duration, Instant};

use anyhow::Context;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{CreateOrderRequest, GetOrderTimelineRequest, Order, OrderStatus, RequestedLine};
use openorder_proto::reasons::Word;
use uuid::Uuid;

use super::world::World;
use super::{PATIENCE, cart, parcel};
use crate::gateway_client::failed;
use crate::order::follow::Watch;
use crate::output::line;
use crate::show::{mark, money, timeline};

/// Pause between two looks at something that is about to change.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An order, and how it has to end.
pub(super) struct Story<'a> {
    pub(super) title: &'static str,
    pub(super) world: &'a World,
    pub(super) quantity: i32,
    pub(super) status: OrderStatus,
    pub(super) reason: &'static str,
    /// The issued coupon that it uses.
    pub(super) coupon: Option<&'a str>,
    /// Whether it is placed by way of a cart.
    pub(super) is_of_cart: bool,
}

/// How it ended.
pub(super) struct Outcome {
    pub(super) order_id: String,
    pub(super) trace_id: String,
    pub(super) as_expected: bool,
}

impl Story<'_> {
    pub(super) async fn play(&self) -> anyhow::Result<Outcome> {
        let people = &self.world.people;
        let mut client = OrderServiceClient::new(people.customer.clone());
        let began = Instant::now();
        let order = if self.is_of_cart {
            cart::check_out(self.world, self.quantity).await?
        } else {
            let placed = client.create_order(self.request()).await;
            let placed = placed.map_err(|status| failed("the order could not be placed", &status))?;
            placed.into_inner().order.context("CreateOrder answered without an order")?
        };
        line(format_args!(
            "   {} × {} for {}: order {} is {}, answered in {:.1} ms",
            self.quantity,
            self.world.sku,
            money(order.total.as_ref()),
            order.order_id,
            order.status().word(),
            began.elapsed().as_secs_f64() * 1_000.0,
        ));
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let watch = Watch { until: OrderStatus::Preparing, deadline };
        let mut last = watch.follow(&client, order, |order| seen.push(order.status().word())).await?;
        if self.status == OrderStatus::Delivered && last.status() == OrderStatus::Preparing {
            parcel::deliver(&people.operator, &last.order_id).await?;
            let watch = Watch { until: OrderStatus::Delivered, deadline };
            last = watch.follow(&client, last, |order| seen.push(order.status().word())).await?;
        }
        seen.dedup();
        line(format_args!("   watched: {}", seen.join(" → ")));
        if let Some(discount) = &last.discount {
            let (off, paid) = (money(Some(discount)), money(last.total.as_ref()));
            line(format_args!("   the coupon takes {off} off: {paid} are paid"));
        }

        let mut request = GetOrderTimelineRequest { order_id: last.order_id.clone(), ..Default::default() };
        let mut events = Vec::new();
        loop {
            let page = client.get_order_timeline(request.clone()).await;
            let page = page.map_err(|status| failed("the timeline could not be read", &status))?.into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        timeline(&events).iter().for_each(|event| line(format_args!("   {event}")));
        let is_emptied = !self.is_of_cart || cart::is_emptied(self.world).await?;
        let outcome = self.compare(last);
        Ok(Outcome { as_expected: outcome.as_expected && is_emptied, ..outcome })
    }

    fn request(&self) -> CreateOrderRequest {
        CreateOrderRequest {
            request_id: Uuid::now_v7().to_string(),
            customer_id: self.world.people.customer_id.clone(),
            customer_email: self.world.people.customer_email.clone(),
            lines: vec![RequestedLine { sku: self.world.sku.clone(), quantity: self.quantity }],
            issued_coupon_id: self.coupon.unwrap_or_default().to_owned(),
            ..Default::default()
        }
    }

    fn compare(&self, last: Order) -> Outcome {
        let as_expected = last.status() == self.status && last.status_reason == self.reason;
        let named = |status: OrderStatus, reason: &str| match reason {
            "" => status.word().to_owned(),
            reason => format!("{}, {reason}", status.word()),
        };
        let ended = named(last.status(), &last.status_reason);
        match as_expected {
            true => line(format_args!("   {} {ended}, as expected", mark(true))),
            false => line(format_args!(
                "   {} {ended}; expected: {}. `openorder probe` says what the system waits for",
                mark(false),
                named(self.status, self.reason),
            )),
        }
        Outcome { order_id: last.order_id, trace_id: last.trace_id, as_expected }
    }
}
