//! Requests of CreateOrder, in gRPC and in JSON: made once, and given their numbers when they are sent, so that sending one
//! costs the same in every form.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use openorder_proto::google::r#type::Money;
use openorder_proto::order::v1::{CreateOrderRequest, RequestedLine};
use openorder_proto::product::v1::{CreateProductRequest, CreateProductResponse};
use openorder_rpc::Upstream;
use serde_json::json;
use uuid::Uuid;

use crate::calls::{ask, framed};

/// Products that are ordered.
const PRODUCTS: u64 = 100;
/// Customers that order.
const CUSTOMERS: u64 = 1_000;
/// As many as T's transaction writes.
const LINES: u64 = 2;
/// The largest that the contract allows.
const INITIAL_STOCK: i32 = 1_000_000_000;
/// Digits of the number in a request id, in the id of a customer, and in a SKU.
const REQUEST_DIGITS: usize = 12;
const CUSTOMER_DIGITS: usize = 6;
const PRODUCT_DIGITS: usize = 5;

/// How a call is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Grpc,
    /// JSON, by the route of the method.
    Rest,
    /// JSON, by the name of the method.
    Connect,
}

impl Form {
    /// The path of CreateOrder.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Grpc | Self::Connect => "/openorder.order.v1.OrderService/CreateOrder",
            Self::Rest => "/v1/orders",
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Rest | Self::Connect => "application/json",
        }
    }
}

/// Makes the products that are ordered; those that are there already stay.
pub(crate) async fn make_products(gateway: &Upstream, token: Option<&str>) -> anyhow::Result<()> {
    for number in 0..PRODUCTS {
        let sku = sku(number);
        let request = CreateProductRequest {
            request_id: sku.clone(),
            display_name: format!("Product {number}"),
            sku,
            price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
            initial_stock: INITIAL_STOCK,
            ..CreateProductRequest::default()
        };
        let path = "/openorder.product.v1.ProductService/CreateProduct";
        ask::<CreateProductResponse>(gateway, path, token, &request).await?;
    }
    Ok(())
}

/// Orders, each another one.
pub(crate) struct Orders {
    bytes: Vec<u8>,
    /// Where the digits of each number begin.
    request: usize,
    customer: usize,
    products: Vec<usize>,
    next: AtomicU64,
}

impl Orders {
    pub(crate) fn new(form: Form) -> anyhow::Result<Self> {
        // No other ones of this run have these.
        let run = Uuid::now_v7().simple().to_string();
        let (request_id, customer_id) = (request_id(&run, 0), customer_id(0));
        let skus: Vec<String> = (0..LINES).map(sku).collect();
        let bytes = match form {
            Form::Grpc => {
                let lines = skus.iter().map(|sku| RequestedLine { sku: sku.clone(), quantity: 1 });
                let (request_id, customer_id) = (request_id.clone(), customer_id.clone());
                let request =
                    CreateOrderRequest { request_id, customer_id, lines: lines.collect(), ..Default::default() };
                framed(&request).to_vec()
            }
            Form::Rest | Form::Connect => {
                let lines: Vec<_> = skus.iter().map(|sku| json!({"sku": sku, "quantity": 1})).collect();
                let request = json!({"requestId": request_id, "customerId": customer_id, "lines": lines});
                request.to_string().into_bytes()
            }
        };
        let digits = |text: &str, count: usize| {
            let begin = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            begin.map(|begin| begin + text.len() - count).context("a request that lacks one of its fields")
        };
        let products = skus.iter().map(|sku| digits(sku, PRODUCT_DIGITS)).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            request: digits(&request_id, REQUEST_DIGITS)?,
            customer: digits(&customer_id, CUSTOMER_DIGITS)?,
            products,
            bytes,
            next: AtomicU64::new(0),
        })
    }

    /// The next one, with customers and products as if at random.
    pub(crate) fn next(&self) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dice = mixed(number);
        let mut bytes = BytesMut::from(self.bytes.as_slice());
        write_digits(&mut bytes[self.request..][..REQUEST_DIGITS], number);
        write_digits(&mut bytes[self.customer..][..CUSTOMER_DIGITS], dice % CUSTOMERS);
        for (line, place) in (0..).zip(&self.products) {
            write_digits(&mut bytes[*place..][..PRODUCT_DIGITS], ((dice >> 32) + line) % PRODUCTS);
        }
        bytes.freeze()
    }
}

fn request_id(run: &str, number: u64) -> String {
    format!("order-{run}-{number:0REQUEST_DIGITS$}")
}

fn customer_id(number: u64) -> String {
    format!("buyer-{number:0CUSTOMER_DIGITS$}")
}

fn sku(number: u64) -> String {
    format!("BENCH-{number:0PRODUCT_DIGITS$}")
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// SplitMix64: neighbouring numbers give values that have nothing to do with each other.
fn mixed(number: u64) -> u64 {
    let mut value = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn an_order_is_the_same_in_every_form() {
        let (grpc, rest) = (Orders::new(Form::Grpc).unwrap(), Orders::new(Form::Rest).unwrap());
        for number in 0..1_000 {
            let (framed, json) = (grpc.next(), rest.next());
            let message = CreateOrderRequest::decode(&framed[5..]).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert!(message.request_id.ends_with(&format!("-{number:012}")) && message.request_id.len() <= 64);
            assert!(json["requestId"].as_str().unwrap().ends_with(&format!("-{number:012}")));
            assert_eq!(json["customerId"], message.customer_id);
            let skus: Vec<_> = message.lines.iter().map(|line| line.sku.as_str()).collect();
            assert_eq!([&json["lines"][0]["sku"], &json["lines"][1]["sku"]], [skus[0], skus[1]]);
            assert_ne!(skus[0], skus[1]);
            assert!(skus[0] < "BENCH-00100");
        }
    }

    #[test]
    fn names_hold_to_the_contract() {
        let run = Uuid::now_v7().simple().to_string();
        assert!(request_id(&run, u64::from(u32::MAX)).len() <= 64);
        assert_eq!((customer_id(7), sku(7)), ("buyer-000007".to_owned(), "BENCH-00007".to_owned()));
    }
}
