//! Asks the user service, again and again, which tokens are to be believed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openorder_proto::internal::user::v1::trust_service_client::TrustServiceClient;
use openorder_proto::internal::user::v1::{GetTrustRequest, GetTrustResponse};
use openorder_rpc::status::reason_or_code;
use openorder_rpc::{CallContext, UpstreamChannel};
use openorder_telemetry::TraceContext;

use super::trust::Trust;

/// Answers that are asked for at once, one after another; more are for the next time.
const ANSWERS_MAX: usize = 100;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A trace that nobody records: one each time would hide all others.
fn unrecorded() -> TraceContext {
    TraceContext::parse("00-74727573740000000000000000000001-7472757374000001-00", None).unwrap_or_default()
}

/// Keeps what is known as the user service has it.
pub(crate) struct TrustPoll {
    client: TrustServiceClient<UpstreamChannel>,
    trust: Arc<Trust>,
    interval: Duration,
    timeout: Duration,
    /// Of the last answer.
    position: i64,
}

impl TrustPoll {
    pub(crate) fn new(channel: UpstreamChannel, trust: Arc<Trust>, interval: Duration, timeout: Duration) -> Self {
        Self { client: TrustServiceClient::new(channel), trust, interval, timeout, position: 0 }
    }

    /// Goes on for ever.
    pub(crate) async fn run(mut self) {
        // Whether the last time went well; nothing before the first.
        let mut went_well = None;
        loop {
            let outcome = self.ask().await;
            match &outcome {
                Ok(()) if went_well == Some(false) => {
                    tracing::info!("the user service says again which tokens are valid")
                }
                // Said once, not each time.
                Err(error) if went_well != Some(false) => {
                    tracing::warn!(
                        error,
                        "the user service does not say which tokens are valid: what it said last stands"
                    );
                }
                _ => {}
            }
            went_well = Some(outcome.is_ok());
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn ask(&mut self) -> Result<(), String> {
        let (mut whole, mut position) = (GetTrustResponse::default(), self.position);
        for _ in 0..ANSWERS_MAX {
            let call = CallContext::of_service("gateway", unrecorded()).within(self.timeout);
            let request = call.request(GetTrustRequest { since: position });
            let answer = self.client.get_trust(request).await;
            let mut answer = answer.map_err(|status| reason_or_code(&status))?.into_inner();
            position = answer.position;
            whole.revocations.append(&mut answer.revocations);
            let has_more = answer.has_more;
            whole = GetTrustResponse { revocations: whole.revocations, ..answer };
            if !has_more {
                break;
            }
        }
        // All of it together, so that no token is believed that a later page revokes.
        self.trust.apply(whole, now()).map_err(|error| error.to_string())?;
        self.position = position;
        Ok(())
    }
}
