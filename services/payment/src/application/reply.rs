//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::payment::v1::{Payment, Wallet};

stored_reply! {
    pub enum PaymentReply, noted = 2 {
        1 = Wallet(Wallet),
        3 = Payment(Payment),
    }
}
