//! Layered, typed settings that know where each value came from.
//!
//! A setting stands in one place, with its type, default, bounds and meaning ([`settings!`]). One name
//! reaches it everywhere: the key `order.saga_step_timeout_ms` is the variable
//! `OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS`, the flag `--set order.saga_step_timeout_ms=…` and the TOML
//! entry `[order] saga_step_timeout_ms`. Later layers win: default, file, environment, flags. A name
//! that nobody knows is an error with the nearest known name, and all errors are told at once.
//!
//! Reading guide:
//!
//! - [`mod@settings`]: how a struct of settings is declared and walked;
//! - [`value`]: what a value may be; [`secret`]: what is never shown;
//! - [`source`]: files, environment, flags; [`load()`]: the layers put on one another, and the report.
//!
//! ```
//! openorder_config::settings! {
//!     /// Order service.
//!     pub struct OrderSettings {
//!         /// How long a saga step may stay unanswered, in milliseconds.
//!         saga_step_timeout_ms: u64 = 120_000, 100..=86_400_000;
//!         /// PostgreSQL URL.
//!         database_url: openorder_config::Secret = "postgres://postgres@127.0.0.1:15432/openorder_order";
//!     }
//! }
//! openorder_config::settings! {
//!     /// All settings of the process.
//!     pub struct ProcessSettings {
//!         /// Order service.
//!         order: OrderSettings;
//!     }
//! }
//!
//! # fn main() -> Result<(), openorder_config::ConfigErrors> {
//! use openorder_config::{Sources, load};
//! let sources = Sources::defaults().with_flag("order.saga_step_timeout_ms=500");
//! let loaded = load::<ProcessSettings>(&sources)?;
//! assert_eq!(loaded.settings.order.saga_step_timeout_ms, 500);
//! assert_eq!(loaded.explain()[0].source.to_string(), "flag --set");
//! # Ok(())
//! # }
//! ```

pub mod load;
pub mod names;
pub mod secret;
pub mod settings;
pub mod source;
pub mod value;

pub use load::{ConfigErrors, Loaded, Problem, Row, check, load};
pub use secret::Secret;
pub use settings::Settings;
pub use source::{Source, Sources};
pub use value::Value;
