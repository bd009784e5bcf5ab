//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::notification::v1::{Notification, NotificationPreferences};

stored_reply! {
    pub enum NotificationReply, noted = 3 {
        1 = Preferences(NotificationPreferences),
        2 = Notification(Notification),
    }
}
