//! What a caller gets back, and its stored form.

use openorder_messaging::Reply;
use openorder_proto::order::v1::Order;
use openorder_types::CallError;
use prost::Message;
use uuid::Uuid;

/// The first byte of a stored reply that is the id of an order. No message begins with it: there is no field 0.
const MADE: u8 = 0;

/// Reply of a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OrderReply {
    /// The order as the command left it.
    Order(Box<Order>),
    /// The order that the command made, of which nothing else is kept: it may have changed since.
    Made(Uuid),
    /// A fact was taken note of; it has no caller.
    Noted,
}

impl Reply for OrderReply {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Order(order) => order.encode_to_vec(),
            Self::Made(order_id) => [[MADE].as_slice(), order_id.as_bytes()].concat(),
            Self::Noted => Vec::new(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::Noted),
            [MADE, order_id @ ..] => Uuid::from_slice(order_id).ok().map(Self::Made),
            message => Order::decode(message).ok().map(|order| Self::Order(Box::new(order))),
        }
    }
}

impl TryFrom<OrderReply> for Order {
    type Error = CallError;

    fn try_from(reply: OrderReply) -> Result<Self, CallError> {
        match reply {
            OrderReply::Order(order) => Ok(*order),
            OrderReply::Made(_) | OrderReply::Noted => Err(CallError::Internal),
        }
    }
}

/// The order that a call made, now or when it was made before.
pub(crate) enum MadeOrder {
    Now(Box<Order>),
    /// Its id; it may have changed since.
    Before(Uuid),
}

impl TryFrom<OrderReply> for MadeOrder {
    type Error = CallError;

    fn try_from(reply: OrderReply) -> Result<Self, CallError> {
        match reply {
            OrderReply::Order(order) => Ok(Self::Now(order)),
            OrderReply::Made(order_id) => Ok(Self::Before(order_id)),
            OrderReply::Noted => Err(CallError::Internal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_as_it_was_written_and_the_id_of_an_order_is_no_order() {
        let order = Order { order_id: "1".to_owned(), version: 1, ..Default::default() };
        let made = OrderReply::Made(Uuid::now_v7());
        for reply in [OrderReply::Order(Box::new(order)), made.clone(), OrderReply::Noted] {
            assert_eq!(OrderReply::decode(&reply.encode()), Some(reply));
        }
        let encoded = made.encode();
        assert_eq!(encoded.len(), 17);
        assert!(Order::decode(encoded.as_slice()).is_err());
        assert_eq!(OrderReply::decode(&encoded[..16]), None);
    }
}
