//! What a caller gets back, and its stored form.

use openorder_messaging::Reply;
use openorder_proto::product::v1::Product;
use openorder_types::CallError;
use prost::Message;

/// The product as the command left it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductReply(pub Product);

impl Reply for ProductReply {
    fn encode(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Product::decode(bytes).ok().map(Self)
    }
}

impl TryFrom<ProductReply> for Product {
    type Error = CallError;

    fn try_from(reply: ProductReply) -> Result<Self, CallError> {
        Ok(reply.0)
    }
}
