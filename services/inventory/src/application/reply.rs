//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::inventory::v1::{Reservation, Stock};

stored_reply! {
    /// Reply of a command.
    pub enum InventoryReply, noted = 3 {
        /// A level after its change.
        1 = Stock(Stock),
        /// A reservation after its change.
        2 = Reservation(Reservation),
    }
}
