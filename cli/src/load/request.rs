//! CreateOrder requests that are encoded once: sending one costs a copy and a few digits.

use bytes::{BufMut, Bytes, BytesMut};
use openorder_proto::order::v1::{CreateOrderRequest, RequestedLine};
use prost::Message;

/// Digits of the number in a request id, a customer id, a SKU.
const REQUEST_DIGITS: usize = 12;
const CUSTOMER_DIGITS: usize = 6;
const PRODUCT_DIGITS: usize = 5;

/// Length of what stands before a message in gRPC: the compressed flag and the message's length.
pub(super) const FRAME_HEADER_LENGTH: usize = 5;

/// The names of one run; no other run has them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) run: String,
}

impl Names {
    pub(super) fn request(&self, number: u64) -> String {
        format!("order-{}-{number:0REQUEST_DIGITS$}", self.run)
    }

    pub(super) fn customer(&self, number: u32) -> String {
        format!("load-{}-{number:0CUSTOMER_DIGITS$}", self.run)
    }

    pub(super) fn sku(&self, number: u32) -> String {
        format!("LOAD-{}-{number:0PRODUCT_DIGITS$}", self.run)
    }
}

/// An encoded request with places for its numbers.
pub(super) struct Template {
    framed: Vec<u8>,
    request_digits: usize,
    customer_digits: usize,
    product_digits: Vec<usize>,
}

impl Template {
    /// A request with `lines` lines, each of one piece.
    pub(super) fn new(names: &Names, lines: u32) -> Self {
        let request = CreateOrderRequest {
            request_id: names.request(0),
            customer_id: names.customer(0),
            lines: (0..lines).map(|line| RequestedLine { sku: names.sku(line), quantity: 1 }).collect(),
            ..Default::default()
        };
        let message = request.encode_to_vec();
        let mut framed = Vec::with_capacity(FRAME_HEADER_LENGTH + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.extend_from_slice(&message);
        let digits = |text: &str, count: usize| end_of(&framed, text.as_bytes()) - count;
        Self {
            request_digits: digits(&request.request_id, REQUEST_DIGITS),
            customer_digits: digits(&request.customer_id, CUSTOMER_DIGITS),
            product_digits: request.lines.iter().map(|line| digits(&line.sku, PRODUCT_DIGITS)).collect(),
            framed,
        }
    }

    /// The request of that number, framed for gRPC; `product` gives the number of the product of each line.
    pub(super) fn fill(&self, request: u64, customer: u32, product: impl Fn(u32) -> u32) -> Bytes {
        let mut framed = BytesMut::from(self.framed.as_slice());
        write_digits(&mut framed[self.request_digits..][..REQUEST_DIGITS], request);
        write_digits(&mut framed[self.customer_digits..][..CUSTOMER_DIGITS], u64::from(customer));
        for (line, place) in (0..).zip(&self.product_digits) {
            write_digits(&mut framed[*place..][..PRODUCT_DIGITS], u64::from(product(line)));
        }
        framed.freeze()
    }
}

/// Where the text ends in the bytes. Each text is in there once: request id, customer id and SKUs differ.
fn end_of(bytes: &[u8], text: &[u8]) -> usize {
    let start = bytes.windows(text.len()).position(|window| window == text);
    start.unwrap_or_default() + text.len()
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_template_is_the_request_itself() {
        let names = Names { run: "0a1b2c3d".to_owned() };
        for lines in [1, 3, 100] {
            let template = Template::new(&names, lines);
            let framed = template.fill(987_654_321, 4_711, |line| 99_000 + line);
            let (header, message) = framed.split_at(FRAME_HEADER_LENGTH);
            assert_eq!(header[0], 0);
            assert_eq!(u32::from_be_bytes(header[1..].try_into().unwrap()) as usize, message.len());
            let expected = CreateOrderRequest {
                request_id: names.request(987_654_321),
                customer_id: names.customer(4_711),
                lines: (0..lines).map(|line| RequestedLine { sku: names.sku(99_000 + line), quantity: 1 }).collect(),
                ..Default::default()
            };
            assert_eq!(CreateOrderRequest::decode(message).unwrap(), expected);
        }
    }

    #[test]
    fn names_hold_to_the_contract() {
        let names = Names { run: "0a1b2c3d".to_owned() };
        assert!(openorder_types::RequestId::parse(&names.request(u64::from(u32::MAX))).is_ok());
        assert!(openorder_types::UserId::parse(&names.customer(999_999)).is_ok());
        assert!(openorder_types::Sku::parse(&names.sku(99_999)).is_ok());
    }
}
