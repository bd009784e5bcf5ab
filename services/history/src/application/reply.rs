//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::history::v1::Rebuild;

stored_reply! {
    pub enum HistoryReply, noted = 2 {
        1 = Rebuild(Rebuild),
    }
}
