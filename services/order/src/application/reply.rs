//! What a caller gets back, and its stored form.

use openorder_messaging::Reply;
use openorder_proto::order::v1::Order;
use openorder_types::CallError;
use prost::Message;

/// Reply of a command: the order as the command left it; none for a fact, which has no caller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrderReply(pub(crate) Option<Box<Order>>);

impl Reply for OrderReply {
    fn encode(&self) -> Vec<u8> {
        self.0.as_ref().map(|order| order.encode_to_vec()).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self(None));
        }
        Order::decode(bytes).ok().map(|order| Self(Some(Box::new(order))))
    }
}

impl TryFrom<OrderReply> for Order {
    type Error = CallError;

    fn try_from(reply: OrderReply) -> Result<Self, CallError> {
        reply.0.map(|order| *order).ok_or(CallError::Internal)
    }
}
