//! `openorder.notification.v1.NotificationService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, RequestKey};
use openorder_proto::notification::v1::{
    GetPreferencesRequest, GetPreferencesResponse, ListNotificationsRequest, ListNotificationsResponse,
    ResendNotificationRequest, ResendNotificationResponse, UpdatePreferencesRequest, UpdatePreferencesResponse,
    notification_service_server::{NotificationService, NotificationServiceServer},
};
use openorder_rpc::{CallContext, ListOf, PageTokens, RequestFingerprint, query_failed, rejection, status};
use openorder_types::{CallError, Caller, Rejection, Role, UserId};
use prost::Message;
use tonic::{Request, Response, Status, service::Routes};

use crate::{
    application::{NotificationReply, Notifications},
    domain::{Command, Notification, Preferences},
    persistence, present,
};

/// Name of the list in page tokens.
const NOTIFICATIONS: &str = "notification.notifications";

/// The service's routes.
pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Notifications>, page_tokens: PageTokens) -> Routes {
    Routes::new(NotificationServiceServer::new(NotificationGrpc { backbone, committer, page_tokens }))
}

struct NotificationGrpc {
    backbone: Arc<Backbone>,
    committer: Committer<Notifications>,
    page_tokens: PageTokens,
}

impl NotificationGrpc {
    async fn submit<M: Message + PartialEq>(
        &self,
        call: CallContext,
        request_id: String,
        method: &'static str,
        (message, canonical): (&M, M),
        command: Command,
    ) -> Result<NotificationReply, CallError> {
        let RequestFingerprint { meaning, as_sent } =
            RequestFingerprint::of_canonical(method, message, Some(&canonical));
        let key = RequestKey {
            caller: call.caller.subject,
            request_id,
            method,
            fingerprint: meaning,
            fingerprint_as_sent: as_sent,
        };
        self.committer.submit(Some(key), command, call.trace, call.deadline).await
    }

    async fn list(
        &self,
        call: CallContext,
        message: ListNotificationsRequest,
    ) -> Result<ListNotificationsResponse, CallError> {
        let conditions = ListNotificationsRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let conditions = conditions.encode_to_vec();
        let cursor = self.page_tokens.decode(NOTIFICATIONS, &call.caller, &conditions, &message.page_token)?;
        let (mut filter, size) = parse::list(&message, cursor.as_deref())?;
        if !call.caller.is_staff() {
            // Whatever a customer asks for, it gets what is its own.
            let own = needs_customer(&call.caller)?;
            if filter.user_id.is_some_and(|asked| asked != own) {
                return Ok(ListNotificationsResponse::default());
            }
            filter.user_id = Some(own);
        }
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found =
            persistence::list_notifications(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let of = ListOf { list: NOTIFICATIONS, caller: &call.caller, filter_fingerprint: &conditions, size };
        let cursor = |last: &Notification| last.notification_id.into_bytes();
        let page = self.page_tokens.page(&of, &found, present::notification, cursor);
        Ok(ListNotificationsResponse { notifications: page.items, next_page_token: page.next_page_token })
    }

    async fn preferences(
        &self,
        call: CallContext,
        message: GetPreferencesRequest,
    ) -> Result<GetPreferencesResponse, CallError> {
        let user_id = parse::user(&message.user_id)?;
        visible(&call.caller, &user_id)?;
        let found =
            persistence::find_preferences(self.backbone.pool(), &[user_id.as_str()]).await.map_err(query_failed)?;
        let preferences = found.into_iter().next().unwrap_or_else(|| Preferences::default_of(user_id));
        Ok(GetPreferencesResponse { preferences: Some(present::preferences(&preferences)) })
    }

    async fn update(
        &self,
        call: CallContext,
        message: UpdatePreferencesRequest,
    ) -> Result<UpdatePreferencesResponse, CallError> {
        let (request_id, user_id, change) = parse::update(&message)?;
        visible(&call.caller, &user_id)?;
        let command = Command::UpdatePreferences { user_id, change };
        match self
            .submit(call, request_id, "UpdatePreferences", (&message, parse::canonical_update(&message)), command)
            .await?
        {
            NotificationReply::Preferences(preferences) => {
                Ok(UpdatePreferencesResponse { preferences: Some(preferences) })
            }
            _ => Err(CallError::Internal),
        }
    }

    async fn resend(
        &self,
        call: CallContext,
        message: ResendNotificationRequest,
    ) -> Result<ResendNotificationResponse, CallError> {
        if !call.caller.is_staff() {
            let text = "only operators and services may do this";
            return Err(Rejection::permission_denied("ROLE_REQUIRED", text).into());
        }
        let (request_id, command) = parse::resend(&message)?;
        match self
            .submit(call, request_id, "ResendNotification", (&message, parse::canonical_resend(&message)), command)
            .await?
        {
            NotificationReply::Notification(notification) => {
                Ok(ResendNotificationResponse { notification: Some(notification) })
            }
            _ => Err(CallError::Internal),
        }
    }
}

#[tonic::async_trait]
impl NotificationService for NotificationGrpc {
    async fn list_notifications(
        &self,
        request: Request<ListNotificationsRequest>,
    ) -> Result<Response<ListNotificationsResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.list(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<GetPreferencesResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.preferences(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn update_preferences(
        &self,
        request: Request<UpdatePreferencesRequest>,
    ) -> Result<Response<UpdatePreferencesResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.update(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn resend_notification(
        &self,
        request: Request<ResendNotificationRequest>,
    ) -> Result<Response<ResendNotificationResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.resend(call, request.into_inner()).await.map(Response::new).map_err(status)
    }
}

/// The user that a customer is.
fn needs_customer(caller: &Caller) -> Result<String, Rejection> {
    if caller.has(Role::Customer) {
        return Ok(caller.subject.clone());
    }
    Err(Rejection::permission_denied("ROLE_REQUIRED", "the caller has no role that may do this"))
}

/// What a caller may not see does not exist for it.
fn visible(caller: &Caller, user_id: &UserId) -> Result<(), Rejection> {
    if caller.may_act_for(user_id) {
        return Ok(());
    }
    Err(Rejection::not_found("USER_NOT_FOUND", "there is no such user").with("user_id", user_id))
}
