//! The rules of notifications, pure: no I/O, no clock, no protobuf.

mod command;
mod kind;
mod notice;
mod notification;
mod preferences;
mod recipient;
mod template;

pub use command::{Command, Delivery, DeliveryOutcome};
pub use kind::{Channel, Kind, Status};
pub use notice::{Notice, NoticeLine};
pub use notification::{Handover, Handovers, Notification, not_found};
pub use preferences::{Preferences, PreferencesChange};
pub use recipient::{PhoneNumber, PushToken, Recipient};
pub use template::{BODY_LENGTH_MAX, Message, SUBJECT_LENGTH_MAX, render};
