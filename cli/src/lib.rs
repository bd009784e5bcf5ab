//! The `openorder` program as a library: commands, and the system that `serve` runs.
//!
//! Reading guide:
//!
//! - [`args`]: what can be asked on the command line; [`settings_args`], `through.rs`: what most commands take;
//! - [`settings`], [`check`], [`mod@config`]: all settings of a process, their rules, and the command that shows them;
//! - [`roles`], [`system`], [`serve`]: what a process can serve, and how it starts, is watched and drains;
//! - [`probe`], [`logs`]: looking at a running process;
//! - [`demo`], [`load`]: using a running system through its gateway, as any caller would (`gateway_client/`);
//! - [`verify`]: do the invariants hold, on the running system;
//! - [`order`]: orders, made and looked at by hand; [`operate`]: what operators look at and do, through the gateway;
//! - [`user`], [`login`], [`token`]: users, and who this machine's user is (`session.rs`, `password.rs`);
//! - [`rebuild`]: what services have made of events, made anew;
//! - [`topic`]: the events in Kafka, decoded; [`certs`]: certificates for development; [`manual`]: completion and manual pages;
//! - [`output`]: the only place that writes to the terminal; `table.rs`, `time.rs`, `json.rs`, `show.rs`: how values look.
//!
//! Tests start the system in their own process:
//!
//! ```no_run
//! # async fn example() -> Result<(), openorder::StartError> {
//! use openorder::{ProcessSettings, Role, System};
//! let system = System::start(ProcessSettings::default(), Role::ALL).await?;
//! system.readiness().wait_ready().await;
//! assert!(system.stop().await.is_clean());
//! # Ok(())
//! # }
//! ```

pub mod args;
mod block_on;
pub mod certs;
pub mod check;
pub mod config;
mod confirm;
pub mod demo;
mod gateway_client;
mod http;
mod json;
pub mod load;
pub mod login;
pub mod logs;
pub mod manual;
mod mtls;
pub mod operate;
pub mod order;
pub mod output;
mod password;
mod port;
pub mod probe;
pub mod rebuild;
pub mod roles;
pub mod serve;
mod services;
mod session;
pub mod settings;
pub mod settings_args;
mod show;
pub mod system;
mod table;
mod through;
mod time;
pub mod token;
pub mod topic;
pub mod user;
pub mod verify;

use clap::CommandFactory;

pub use roles::Role;
pub use settings::ProcessSettings;
pub use system::{Ending, StartError, System};

use args::{Cli, Command};

/// Carries out a command; false when its answer is "no", such as that of a probe.
///
/// # Errors
/// Why it could not be carried out. [`openorder_config::ConfigErrors`] are among them.
pub fn run(cli: &Cli) -> anyhow::Result<bool> {
    let settings = &cli.all_settings();
    match &cli.command {
        Command::Serve(args) => serve::run(settings, args).map(|()| true),
        Command::Config(args) => config::run(settings, args).map(|()| true),
        Command::Probe(args) => probe::run(settings, args),
        Command::Demo(args) => demo::run(settings, args),
        Command::Load(args) => load::run(settings, args),
        Command::Logs(args) => logs::run(settings, args).map(|()| true),
        Command::Verify(args) => verify::run(settings, args),
        Command::Health(args) => operate::health::run(settings, args),
        Command::Lag(args) => operate::lag::run(settings, args).map(|()| true),
        Command::Dlq(args) => operate::dlq::run(settings, args),
        Command::Parked(args) => operate::parked::run(settings, args).map(|()| true),
        Command::Replay(args) => operate::replay::run(settings, args).map(|()| true),
        Command::Rebuild(args) => rebuild::run(settings, args),
        Command::Topic(args) => topic::run(settings, args).map(|()| true),
        Command::User(args) => user::run(settings, args).map(|()| true),
        Command::Login(args) => login::login(settings, args).map(|()| true),
        Command::Logout(args) => login::logout(settings, args).map(|()| true),
        Command::Token(args) => token::run(settings, args).map(|()| true),
        Command::Certs(args) => certs::run(args).map(|()| true),
        Command::Completion(args) => {
            manual::completion(args, &mut Cli::command());
            Ok(true)
        }
        Command::Man(args) => manual::man(args, Cli::command()).map(|()| true),
        Command::Order(args) => order::run(settings, args),
        Command::Audit(args) => operate::audit::run(settings, args).map(|()| true),
    }
}
