//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::notification::v1::{Notification, NotificationPreferences};

stored_reply! {
    /// Reply of a command.
    pub enum NotificationReply, noted = 3 {
        /// Preferences after their change.
        1 = Preferences(NotificationPreferences),
        /// A notification after its change.
        2 = Notification(Notification),
    }
}
