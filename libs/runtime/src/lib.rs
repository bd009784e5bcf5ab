//! What every OpenOrder process stands on while it runs.
//!
//! A process starts as a sequence: telemetry, configuration, build, serve, signal, bounded drain.
//! Reading guide:
//!
//! - [`shutdown`]: the one switch that everybody watches, and who threw it;
//! - [`tasks`]: named background tasks, each with a policy for its end, and the drain;
//! - [`readiness`]: which dependency of which role is there;
//! - [`rounds`]: work that is done again and again until a stop;
//! - [`wait`]: waiting for a dependency while saying what is waited for;
//! - [`admin`]: `/livez`, `/readyz` and `/metrics`; [`asked`]: what they say, to whoever started the process;
//! - [`signals`]: SIGTERM and SIGINT.

pub mod admin;
pub mod asked;
pub mod readiness;
pub mod rounds;
pub mod shutdown;
pub mod signals;
pub mod tasks;
pub mod wait;

/// Boxes the future of an async function where it is written.
///
/// Async code is compiled where it is polled, again in each crate that does, with all that it awaits. What stands behind
/// this is compiled once; it costs an allocation a call.
pub use async_recursion::async_recursion as compiled_here;

pub use admin::serve_admin;
pub use asked::has_all_but;
pub use readiness::{Condition, Dependency, DependencyState, Need, Readiness, State};
pub use rounds::{Again, Rounds, every};
pub use shutdown::Shutdown;
pub use signals::install_signals;
pub use tasks::{OnExit, TaskResult, Tasks};
pub use wait::{Stopped, wait_for};
