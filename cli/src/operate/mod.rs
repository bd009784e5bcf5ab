//! What operators look at and do, through the gateway: `dlq`, `parked`, `replay`, `lag`, `health`, `audit`.
//!
//! - `dlq/`: dead letters: list, show, replay, cancel, discard;
//! - `parked.rs`, `lag.rs`, `health.rs`, `audit.rs`: looking;
//! - `replay.rs`: events out of a log, to one consumer group;
//! - `act.rs`: what all acts have in common: a reason, a request id, a question before it;
//! - `time.rs`, `table.rs`, `json.rs`: how times, tables and answers are written.

mod act;
pub mod audit;
pub mod dlq;
pub mod health;
pub(crate) mod json;
pub mod lag;
pub mod parked;
pub mod replay;
pub(crate) mod table;
pub(crate) mod time;

use clap::Args;
use openorder_proto::operations::v1::UnreachableService;
use openorder_proto::operations::v1::operations_service_client::OperationsServiceClient;

use crate::args::SettingsArgs;
use crate::edge::{self, Edge};
use crate::output::{Format, note};

/// Characters of a key in a table; a UUID has 36.
const KEY_SHOWN_MAX: usize = 40;
/// Rows of one call.
const PAGE_SIZE: i32 = 500;

/// How an operator's command reaches the system, and how it answers.
#[derive(Clone, Debug, Args)]
pub struct Through {
    /// The gateway [default: gateway.listen_address of the settings, http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    pub gateway: Option<String>,
    /// `text` for eyes; `json` for programs. Progress and questions go to standard error.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// What was said about settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The operations service behind the gateway.
pub(crate) type Client = OperationsServiceClient<Edge>;

impl Through {
    async fn client(&self, settings: &SettingsArgs) -> anyhow::Result<Client> {
        Ok(OperationsServiceClient::new(self.edge(settings).await?))
    }

    /// The gateway, for the client of any service behind it.
    pub(crate) async fn edge(&self, settings: &SettingsArgs) -> anyhow::Result<Edge> {
        let gateway = edge::address(settings, self.gateway.as_ref())?;
        Edge::connect(&gateway).await
    }

    pub(crate) fn is_json(&self) -> bool {
        self.output == Format::Json
    }
}

/// Says whose answers are missing.
fn tell_unreachable(missing: &[UnreachableService]) {
    for service in missing {
        note(format_args!("{} does not answer, and its rows are missing: {}", service.role, service.detail));
    }
}

/// "1 message", "2 messages".
fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
