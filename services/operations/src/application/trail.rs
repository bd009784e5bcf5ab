//! Looking at the trail.

use openorder_proto::operations::v1::{AuditEntry, AuditState, ListAuditEntriesRequest, ListAuditEntriesResponse};
use openorder_rpc::{CallContext, Violations, page_size, rejection, timestamp, timestamp_to_proto};
use tonic::Status;
use uuid::Uuid;

use super::{
    Operations,
    letters::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX},
    logged,
};
use crate::persistence::{self, Entry, Filter, State};

/// Name of the list in page tokens.
const AUDIT_ENTRIES: &str = "operations.audit_entries";

impl Operations {
    pub(crate) async fn list_audit_entries(
        &self,
        call: &CallContext,
        message: ListAuditEntriesRequest,
    ) -> Result<ListAuditEntriesResponse, Status> {
        let list = self.page_tokens.open(AUDIT_ENTRIES, call, &message).map_err(rejection)?;
        let before = list.cursor().and_then(|bytes| Uuid::from_slice(bytes).ok());
        let mut violations = Violations::new();
        let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
        let mut time = |field: &str, time: Option<prost_types::Timestamp>| {
            time.and_then(|time| timestamp(field, Some(time), &mut violations))
        };
        let from = time("start_time_from", message.start_time_from);
        let until = time("start_time_until", message.start_time_until);
        violations.finish().map_err(rejection)?;
        let size = size.unwrap_or(PAGE_SIZE_DEFAULT);
        let filter = Filter {
            state: Some(message.state()).filter(|state| *state != AuditState::Unspecified).and_then(state_of),
            caller: (!message.caller.is_empty()).then_some(message.caller),
            methods: message.methods,
            request_id: (!message.request_id.is_empty()).then_some(message.request_id),
            from,
            until,
            before,
            // One more than the page: whether there is another one.
            limit: i64::from(size) + 1,
        };
        let found = persistence::list(self.pool(), &filter, self.alive_within()).await.map_err(logged)?;
        let (entries, next_page_token) = list.page(size, &found, entry, |last| last.audit_entry_id.into_bytes());
        Ok(ListAuditEntriesResponse { entries, next_page_token })
    }
}

fn state_of(state: AuditState) -> Option<State> {
    State::from_number(state)
}

fn entry(entry: &Entry) -> AuditEntry {
    AuditEntry {
        audit_entry_id: entry.audit_entry_id.to_string(),
        method: entry.method.clone(),
        caller: entry.caller.clone(),
        reason: entry.reason.clone(),
        request_id: entry.request_id.clone(),
        arguments_json: entry.arguments.to_string(),
        state: entry.state.number().into(),
        outcome_json: entry.outcome.as_ref().map(|outcome| outcome.to_string()).unwrap_or_default(),
        start_time: Some(timestamp_to_proto(&entry.started_at)),
        end_time: entry.ended_at.as_ref().map(timestamp_to_proto),
        trace_id: entry.trace_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;

    #[test]
    fn states_have_the_numbers_of_the_contract() {
        assert_numbered_as_in_the_contract! { State = AuditState, "AUDIT_STATE"; }
    }
}
