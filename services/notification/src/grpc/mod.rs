//! `openorder.notification.v1.NotificationService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer};
use openorder_proto::notification::v1::{
    GetPreferencesRequest, GetPreferencesResponse, ListNotificationsRequest, ListNotificationsResponse,
    ResendNotificationRequest, ResendNotificationResponse, UpdatePreferencesRequest, UpdatePreferencesResponse,
    notification_service_server::{NotificationService, NotificationServiceServer},
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, calls, query_failed};
use openorder_service::Commands;
use openorder_types::{CallError, Caller, Rejection, Role};
use tonic::service::Routes;

use crate::{
    application::Notifications,
    domain::{Command, Notification, Preferences, rejection::user_not_found},
    persistence, present,
};

/// Name of the list in page tokens.
const NOTIFICATIONS: &str = "notification.notifications";

pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Notifications>, page_tokens: PageTokens) -> Routes {
    Routes::new(NotificationServiceServer::new(NotificationGrpc { backbone, committer, page_tokens }))
}

struct NotificationGrpc {
    backbone: Arc<Backbone>,
    committer: Committer<Notifications>,
    page_tokens: PageTokens,
}

impl NotificationGrpc {
    async fn list(
        &self,
        call: CallContext,
        message: ListNotificationsRequest,
    ) -> Result<ListNotificationsResponse, CallError> {
        let list = self.page_tokens.open(NOTIFICATIONS, &call, &message)?;
        let (mut filter, size) = parse::list(&message, list.cursor())?;
        if !call.caller.reads_all() {
            // Whatever a customer asks for, it gets what is its own.
            let own = needs_customer(&call.caller)?;
            if filter.user_id.is_some_and(|wanted| wanted != own) {
                return Ok(ListNotificationsResponse::default());
            }
            filter.user_id = Some(own);
        }
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found =
            persistence::list_notifications(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let cursor = |last: &Notification| last.notification_id.into_bytes();
        let show = |one: &Notification| present::notification_for(&call.caller, one);
        let (notifications, next_page_token) = list.page(size, &found, show, cursor);
        Ok(ListNotificationsResponse { notifications, next_page_token })
    }

    async fn preferences(
        &self,
        call: CallContext,
        message: GetPreferencesRequest,
    ) -> Result<GetPreferencesResponse, CallError> {
        let user_id = parse::user(&message.user_id)?;
        if !call.caller.may_see(&user_id) {
            return Err(user_not_found(&user_id).into());
        }
        let found =
            persistence::find_preferences(self.backbone.pool(), &[user_id.as_str()]).await.map_err(query_failed)?;
        let preferences = found.into_iter().next().unwrap_or_else(|| Preferences::default_of(user_id));
        Ok(GetPreferencesResponse { preferences: Some(present::preferences_for(&call.caller, &preferences)) })
    }

    async fn update(
        &self,
        call: CallContext,
        message: UpdatePreferencesRequest,
    ) -> Result<UpdatePreferencesResponse, CallError> {
        let (request_id, user_id, change) = parse::update(&message)?;
        if !call.caller.may_act_for(&user_id) {
            return Err(user_not_found(&user_id).into());
        }
        let command = Command::UpdatePreferences { user_id, change };
        let canonical = parse::canonical_update(&message);
        let fingerprint = RequestFingerprint::of_canonical("UpdatePreferences", &message, Some(&canonical));
        let preferences = self.committer.call(&call, fingerprint, request_id, command).await?;
        Ok(UpdatePreferencesResponse { preferences: Some(preferences) })
    }

    async fn resend(
        &self,
        call: CallContext,
        message: ResendNotificationRequest,
    ) -> Result<ResendNotificationResponse, CallError> {
        let (request_id, command) = parse::resend(&message)?;
        let fingerprint = RequestFingerprint::of("ResendNotification", &message);
        let notification = self.committer.call(&call, fingerprint, request_id, command).await?;
        Ok(ResendNotificationResponse { notification: Some(notification) })
    }
}

calls! {
    impl NotificationService for NotificationGrpc {
        list_notifications(ListNotificationsRequest) -> ListNotificationsResponse = list, anyone;
        get_preferences(GetPreferencesRequest) -> GetPreferencesResponse = preferences, anyone;
        update_preferences(UpdatePreferencesRequest) -> UpdatePreferencesResponse = update, anyone;
        resend_notification(ResendNotificationRequest) -> ResendNotificationResponse = resend, staff;
    }
}

/// The user that a customer is.
fn needs_customer(caller: &Caller) -> Result<String, Rejection> {
    if caller.has(Role::Customer) {
        return Ok(caller.subject.clone());
    }
    Err(Rejection::permission_denied("ROLE_REQUIRED", "the caller has no role that may do this"))
}
