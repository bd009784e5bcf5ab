//! Pure: what is asked for, how answers of several services become one, and what an operator should look at.

mod concern;
mod letter_id;
mod merge;
mod pace;

pub use concern::{Observed, Thresholds, concerns};
pub use letter_id::LetterId;
pub use merge::{Bounds, Cursor, GroupPage, merge};
pub use pace::Pace;
