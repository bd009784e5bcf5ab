//! Looking at dead letters.

use openorder_proto::internal::operations::v1::{
    GetGroupDeadLetterRequest, ListGroupCausesRequest, ListGroupDeadLettersRequest,
};
use openorder_proto::operations::v1::{
    DeadLetter, DeadLetterFilter, GetDeadLetterRequest, GetDeadLetterResponse, ListDeadLettersRequest,
    ListDeadLettersResponse,
};
use openorder_rpc::{CallContext, page_size, passed_on, rejection};
use openorder_types::Rejection;
use prost::Message;
use tonic::Status;

use super::{Operations, payload};
use crate::{
    domain::{Bounds, Cursor, GroupPage, LetterId, merge},
    services::ask_each,
};

/// Name of the list in page tokens.
const DEAD_LETTERS: &str = "operations.dead_letters";
pub(super) const PAGE_SIZE_DEFAULT: u32 = 50;
pub(super) const PAGE_SIZE_MAX: u32 = 500;
/// Causes listed for one group at most.
const CAUSES_MAX: i32 = 200;

impl Operations {
    pub(crate) async fn list_dead_letters(
        &self,
        call: &CallContext,
        message: ListDeadLettersRequest,
    ) -> Result<ListDeadLettersResponse, Status> {
        let filter = message.filter.clone().unwrap_or_default();
        if message.group_by_cause {
            return self.causes(call, &filter).await;
        }
        let size = page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
            .map_err(|error| rejection(Rejection::invalid_field("page_size", error.reason, error.message)))?;
        let conditions = filter.encode_to_vec();
        let targets = self.targets_of(&filter)?;
        let roles = targets.iter().map(|target| target.service.role);
        let cursor = self.cursor(DEAD_LETTERS, call, &conditions, &message.page_token, roles)?;
        let open = targets.into_iter().filter(|target| cursor.0.contains_key(target.service.role)).collect();
        let answers = ask_each(
            open,
            |target| target.service.role,
            |mut target| {
                let after_sequence = cursor.0.get(target.service.role).copied().unwrap_or_default();
                let page_size = i32::try_from(size).unwrap_or(i32::MAX);
                let message = ListGroupDeadLettersRequest { filter: Some(target.filter), after_sequence, page_size };
                let request = self.services.request(call, message);
                async move { target.service.client.list_group_dead_letters(request).await }
            },
        )
        .await?;
        let pages = answers.given.into_iter().map(|(role, page)| GroupPage {
            group: role.to_owned(),
            items: page.dead_letters,
            next: page.next_sequence,
        });
        let bounds = Bounds { size: size as usize, bytes: self.page_tokens.page_bytes_max() };
        let order = |letter: &DeadLetter| letter.dead_time.map(|time| (time.seconds, time.nanos));
        let sequence = |letter: &DeadLetter| sequence_of(&letter.dead_letter_id);
        let (letters, next) = merge(&cursor, pages.collect(), bounds, order, sequence);
        Ok(ListDeadLettersResponse {
            dead_letters: letters.into_iter().map(|letter| self.with_link(letter)).collect(),
            next_page_token: self.token(DEAD_LETTERS, call, &conditions, next.as_ref()),
            causes: Vec::new(),
            unreachable: answers.unreachable,
        })
    }

    async fn causes(&self, call: &CallContext, filter: &DeadLetterFilter) -> Result<ListDeadLettersResponse, Status> {
        let answers = ask_each(
            self.targets_of(filter)?,
            |target| target.service.role,
            |mut target| {
                let message = ListGroupCausesRequest { filter: Some(target.filter), page_size: CAUSES_MAX };
                let request = self.services.request(call, message);
                async move { target.service.client.list_group_causes(request).await }
            },
        )
        .await?;
        let mut causes: Vec<_> = answers.given.into_iter().flat_map(|(_, answer)| answer.causes).collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        Ok(ListDeadLettersResponse { causes, unreachable: answers.unreachable, ..Default::default() })
    }

    pub(crate) async fn get_dead_letter(
        &self,
        call: &CallContext,
        message: GetDeadLetterRequest,
    ) -> Result<GetDeadLetterResponse, Status> {
        let id = LetterId::parse(&message.dead_letter_id)
            .map_err(|error| rejection(Rejection::invalid_field("dead_letter_id", error.reason, error.message)))?;
        let mut service = self.services.find(&id.group)?;
        let request = self.services.request(call, GetGroupDeadLetterRequest { sequence: id.sequence });
        let found = service.client.get_group_dead_letter(request).await;
        let found = found.map_err(|status| passed_on(&status))?.into_inner();
        let letter = found.dead_letter.unwrap_or_default();
        let shown = payload::decode(&self.contract, &letter.event_type, &found.payload);
        Ok(GetDeadLetterResponse {
            dead_letter: Some(self.with_link(letter)),
            payload: found.payload,
            payload_message: shown.message,
            payload_json: shown.json,
            payload_error: shown.error,
            headers: found.headers,
            attempts: found.attempts,
        })
    }

    fn with_link(&self, mut letter: DeadLetter) -> DeadLetter {
        let jaeger = self.settings.jaeger_url.trim_end_matches('/');
        if !jaeger.is_empty() && !letter.trace_id.is_empty() {
            letter.trace_url = format!("{jaeger}/trace/{}", letter.trace_id);
        }
        letter
    }

    /// How far a merged list was given; at first, nowhere in any of these groups.
    pub(super) fn cursor(
        &self,
        list: &str,
        call: &CallContext,
        conditions: &[u8],
        token: &str,
        roles: impl Iterator<Item = &'static str>,
    ) -> Result<Cursor, Status> {
        let decoded = self.page_tokens.decode(list, &call.caller, conditions, token).map_err(rejection)?;
        let first = || Cursor(roles.map(|role| (role.to_owned(), 0)).collect());
        Ok(decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(first))
    }

    pub(super) fn token(&self, list: &str, call: &CallContext, conditions: &[u8], next: Option<&Cursor>) -> String {
        let bytes = next.and_then(|next| serde_json::to_vec(next).ok());
        bytes.map(|bytes| self.page_tokens.encode(list, &call.caller, conditions, &bytes)).unwrap_or_default()
    }
}

/// The number in `{group}/{sequence}`.
pub(super) fn sequence_of(id: &str) -> i64 {
    LetterId::parse(id).map(|id| id.sequence).unwrap_or_default()
}
