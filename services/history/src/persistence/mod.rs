//! All the SQL of the service.

mod body;
mod freshness;
mod halves;
mod rebuilds;
mod search;
mod views;

pub(crate) use body::carrier_event;
pub use freshness::{included_until, note_freshness};
pub use halves::{
    begin_building, current_half, empty, hold_halves, hold_halves_alone, stop_building, switch_to, try_to_rebuild_alone,
};
pub use rebuilds::{add_rebuild, find_rebuild, running_rebuild, save_rebuild, save_source, sources_of};
pub use search::{Filter, Found, Place, list};
pub use views::{find, hear, made_before, merge};
