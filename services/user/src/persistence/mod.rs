//! All the SQL of the service: one statement a table for a whole batch.

mod activities;
mod api_keys;
mod erasure;
mod revocations;
mod server_keys;
mod sessions;
mod upkeep;
mod users;

pub use activities::{add_activities, list_activities};
pub use api_keys::{find_api_key_owners, find_api_keys, list_api_keys, note_use, save_api_keys};
pub use erasure::forget_persons;
pub use revocations::{add_revocations, find_revocations};
pub use server_keys::{add_server_key, add_signing_key_after, delete_signing_key, read_server_keys, seal_anew};
pub use sessions::{find_session_owners, find_sessions, save_sessions};
pub use upkeep::delete_old;
pub use users::{Filter, find_user, find_user_by_email, list_users, lock_users, save_users};
