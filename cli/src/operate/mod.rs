//! What operators look at and do, through the gateway: `dlq`, `parked`, `replay`, `lag`, `health`, `audit`.
//!
//! - `dlq/`: dead letters: list, show, replay, cancel, discard;
//! - `parked.rs`, `lag.rs`, `health.rs`, `audit.rs`: looking;
//! - `replay.rs`: events out of a log, to one consumer group;
//! - `act.rs`: what all acts have in common: a reason, a request id, a question before it.

mod act;
pub mod audit;
pub mod dlq;
pub mod health;
pub mod lag;
pub mod parked;
pub mod replay;

use openorder_proto::operations::v1::UnreachableService;
use openorder_proto::operations::v1::operations_service_client::OperationsServiceClient;

use crate::gateway_client::GatewayClient;
use crate::output::note;
use crate::settings_args::SettingsArgs;
use crate::through::Through;

/// Characters of a key in a table; a UUID has 36.
const KEY_SHOWN_MAX: usize = 40;
/// Rows of one call.
const PAGE_SIZE: i32 = 500;

/// The operations service behind the gateway.
pub(crate) type Client = OperationsServiceClient<GatewayClient>;

/// The operations service.
///
/// # Errors
/// There is no gateway where it was said to be.
async fn operations_client(through: &Through, settings: &SettingsArgs) -> anyhow::Result<Client> {
    Ok(OperationsServiceClient::new(through.gateway_client(settings).await?))
}

/// Says whose answers are missing.
fn note_unreachable(missing: &[UnreachableService]) {
    for service in missing {
        note(format_args!("{} does not answer, and its rows are missing: {}", service.role, service.detail));
    }
}

/// "1 message", "2 messages".
fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
