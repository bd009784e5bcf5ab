//! Looking at parked messages.

use openorder_proto::internal::operations::v1::{GroupFilter, ListGroupParkedMessagesRequest};
use openorder_proto::operations::v1::{ListParkedMessagesRequest, ListParkedMessagesResponse, ParkedMessage};
use openorder_rpc::{CallContext, page_size, rejection};
use openorder_types::Rejection;
use prost::Message;
use tonic::Status;

use super::{
    Operations,
    letters::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, sequence_of},
};
use crate::{
    domain::{Bounds, GroupPage, merge},
    services::ask_each,
};

/// Name of the list in page tokens.
const PARKED_MESSAGES: &str = "operations.parked_messages";

impl Operations {
    pub(crate) async fn list_parked_messages(
        &self,
        call: &CallContext,
        message: ListParkedMessagesRequest,
    ) -> Result<ListParkedMessagesResponse, Status> {
        let size = page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
            .map_err(|error| rejection(Rejection::invalid_field("page_size", error.reason, error.message)))?;
        let services = self.services.chosen(&message.groups)?;
        let unpaged = ListParkedMessagesRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let conditions = unpaged.encode_to_vec();
        let roles = services.iter().map(|service| service.role);
        let cursor = self.cursor(PARKED_MESSAGES, call, &conditions, &message.page_token, roles)?;
        let filter = GroupFilter { topic: message.topic.clone(), key: message.key.clone(), ..GroupFilter::default() };
        let open = services.into_iter().filter(|service| cursor.0.contains_key(service.role)).collect();
        let answers = ask_each(
            open,
            |service| service.role,
            |mut service| {
                let after_sequence = cursor.0.get(service.role).copied().unwrap_or_default();
                let page_size = i32::try_from(size).unwrap_or(i32::MAX);
                let filter = Some(filter.clone());
                let message = ListGroupParkedMessagesRequest { filter, after_sequence, page_size };
                let request = self.services.request(call, message);
                async move { service.client.list_group_parked_messages(request).await }
            },
        )
        .await?;
        let pages = answers.given.into_iter().map(|(role, page)| GroupPage {
            group: role.to_owned(),
            items: page.parked_messages,
            next: page.next_sequence,
        });
        let bounds = Bounds { size: size as usize, bytes: self.page_tokens.page_bytes_max() };
        let order = |message: &ParkedMessage| message.parked_time.map(|time| (time.seconds, time.nanos));
        let sequence = |message: &ParkedMessage| sequence_of(&message.parked_message_id);
        let (parked_messages, next) = merge(&cursor, pages.collect(), bounds, order, sequence);
        let next_page_token = self.token(PARKED_MESSAGES, call, &conditions, next.as_ref());
        Ok(ListParkedMessagesResponse { parked_messages, next_page_token, unreachable: answers.unreachable })
    }
}
