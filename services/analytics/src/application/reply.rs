//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::analytics::v1::Rebuild;

stored_reply! {
    pub enum AnalyticsReply, noted = 2 {
        1 = Rebuild(Rebuild),
    }
}
