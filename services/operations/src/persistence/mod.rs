//! All the SQL of the service: intents, and the trail.

mod acts;
mod audit;

pub(crate) use acts::{
    Act, NewAct, claim, forget, keep_alive, request as find_request, set_frozen, set_outcome, set_progress,
};
pub(crate) use audit::{Entry, Filter, NewEntry, State, begin, complete, list, unfinished};
