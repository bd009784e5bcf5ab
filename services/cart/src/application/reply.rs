//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::order::v1::CreateOrderRequest;

stored_reply! {
    pub enum CartReply, noted = 2 {
        /// What is ordered by a checkout, whoever asks for it again: customer, lines and the checkout's id alone.
        1 = Fixed(CreateOrderRequest),
    }
}
