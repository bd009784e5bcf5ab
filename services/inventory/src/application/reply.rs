//! What a caller gets back, and its stored form.

use openorder_messaging::Reply;
use openorder_proto::inventory::v1::{Reservation, Stock};
use prost::Message;

/// Reply of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum InventoryReply {
    /// A level after its change.
    Stock(Stock),
    /// A reservation after its change.
    Reservation(Reservation),
    /// A fact was taken note of.
    Noted,
}

impl Reply for InventoryReply {
    fn encode(&self) -> Vec<u8> {
        let (tag, mut bytes) = match self {
            Self::Stock(stock) => (1, stock.encode_to_vec()),
            Self::Reservation(reservation) => (2, reservation.encode_to_vec()),
            Self::Noted => (3, Vec::new()),
        };
        bytes.push(tag);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, message) = bytes.split_last()?;
        match tag {
            1 => Stock::decode(message).ok().map(Self::Stock),
            2 => Reservation::decode(message).ok().map(Self::Reservation),
            3 => Some(Self::Noted),
            _ => None,
        }
    }
}
