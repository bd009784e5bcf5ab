//! The rules of notifications, pure: no I/O, no clock, no protobuf. [`decide`] makes events of commands,
//! [`evolve`] applies them.

mod command;
mod decide;
mod event;
mod kind;
mod notice;
mod notification;
mod preferences;
mod recipient;
pub mod rejection;
mod template;

pub use command::{Command, Delivery, DeliveryOutcome};
pub use decide::{Decision, State, decide, evolve};
pub use event::{AttemptResult, Event};
pub use kind::{Channel, Kind, Status};
pub use notice::{ChannelIds, Notice, NoticeLine};
pub use notification::{Handover, Handovers, Notification};
pub use preferences::{Preferences, PreferencesChange};
pub use recipient::{PhoneNumber, PushToken, Recipient};
pub use template::{BODY_LENGTH_MAX, Message, SUBJECT_LENGTH_MAX, render};
