//! All the SQL of the service: one statement a table for a whole batch.

mod attempts;
mod due;
mod notifications;
mod preferences;

pub use attempts::{Attempt, insert as insert_attempts};
pub use due::{Due, count_waiting, give_back, take_due};
pub use notifications::{
    Filter, forget_recipients, insert as insert_notifications, list as list_notifications, lock as lock_notifications,
    update as update_notifications,
};
pub use preferences::{find as find_preferences, lock as lock_preferences, save as save_preferences};
