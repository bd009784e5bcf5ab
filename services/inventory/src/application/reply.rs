//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::inventory::v1::{Reservation, Stock};

stored_reply! {
    pub enum InventoryReply, noted = 3 {
        1 = Stock(Stock),
        2 = Reservation(Reservation),
    }
}
