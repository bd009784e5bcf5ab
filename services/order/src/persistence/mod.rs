//! All the SQL of the service: one statement a table for a whole batch.

mod body;
mod catalog;
mod hints;
mod orders;
mod record;
mod sagas;
mod steps;
mod timers;

pub use catalog::{
    fresh_until as catalogue_fresh_until, load as load_catalogue, note_fresh as note_fresh_catalogue, orderable_skus,
    upsert as upsert_catalogue,
};
pub use hints::store_id as hint_store_id;
pub use orders::{Filter, insert as insert_orders, list as list_orders, lock as lock_orders, update as update_orders};
pub use record::Record;
pub use sagas::{
    SagaFilter, count_unsettled as count_unsettled_sagas, find as find_saga, find_many as find_orders,
    list as list_sagas, note_failed as note_failed_compensations, oldest_unsettled as oldest_unsettled_saga,
};
pub use steps::take as take_steps;
pub use timers::{DueTimer, OpenSaga, arm as arm_timers, claim_due, forget as forget_timers, open_sagas};
