//! What a caller gets back, and its stored form.

use openorder_messaging::Reply;
use openorder_proto::payment::v1::Wallet;
use prost::Message;

/// Reply of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum PaymentReply {
    /// A wallet after its change.
    Wallet(Wallet),
    /// A fact was taken note of; what came of it is told by events.
    Noted,
}

impl Reply for PaymentReply {
    fn encode(&self) -> Vec<u8> {
        let (tag, mut bytes) = match self {
            Self::Wallet(wallet) => (1, wallet.encode_to_vec()),
            Self::Noted => (2, Vec::new()),
        };
        bytes.push(tag);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, message) = bytes.split_last()?;
        match tag {
            1 => Wallet::decode(message).ok().map(Self::Wallet),
            2 => Some(Self::Noted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_kept_and_given_again() {
        let wallet = Wallet { user_id: "ada".to_owned(), version: 7, ..Wallet::default() };
        for reply in [PaymentReply::Wallet(wallet), PaymentReply::Noted] {
            assert_eq!(PaymentReply::decode(&reply.encode()), Some(reply));
        }
        assert_eq!(PaymentReply::decode(&[]), None);
        assert_eq!(PaymentReply::decode(&[9]), None);
    }
}
