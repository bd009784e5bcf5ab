//! Users themselves: looked at, changed, disabled.

use openorder_proto::user::v1::{
    AssignRoleRequest, AssignRoleResponse, DisableUserRequest, DisableUserResponse, EnableUserRequest,
    EnableUserResponse, GetUserRequest, GetUserResponse, ListUserActivityRequest, ListUserActivityResponse,
    ListUsersRequest, ListUsersResponse, UpdateProfileRequest, UpdateProfileResponse, User as UserMessage,
};
use openorder_rpc::query_failed;
use openorder_types::{CallError, Rejection, UserId};

use crate::domain::{Command, User, user_not_found};
use crate::grpc::{UserCall, UserGrpc, parse};
use crate::{persistence, present};

/// Names of the lists in page tokens.
const USERS: &str = "user.users";
const ACTIVITIES: &str = "user.activities";

impl UserGrpc {
    pub(super) async fn user(&self, call: UserCall, message: GetUserRequest) -> Result<GetUserResponse, CallError> {
        let user_id = user_id(&message.user_id)?;
        call.may_see(&user_id)?;
        let user = self.find(&user_id).await?;
        Ok(GetUserResponse { user: Some(call.shown(&user)) })
    }

    pub(super) async fn update(
        &self,
        call: UserCall,
        message: UpdateProfileRequest,
    ) -> Result<UpdateProfileResponse, CallError> {
        let (request_id, update) = parse::update_profile(&message)?;
        call.may_change(&update.user_id)?;
        let command = (request_id, Command::UpdateProfile(update));
        let user: UserMessage = self.command(&call, "UpdateProfile", &message, command).await?;
        Ok(UpdateProfileResponse { user: Some(user) })
    }

    pub(super) async fn assign(
        &self,
        call: UserCall,
        message: AssignRoleRequest,
    ) -> Result<AssignRoleResponse, CallError> {
        let command = parse::assign_role(&message)?;
        let user: UserMessage = self.command(&call, "AssignRole", &message, command).await?;
        Ok(AssignRoleResponse { user: Some(user) })
    }

    pub(super) async fn disable(
        &self,
        call: UserCall,
        message: DisableUserRequest,
    ) -> Result<DisableUserResponse, CallError> {
        let command = parse::disable(&message)?;
        let user: UserMessage = self.command(&call, "DisableUser", &message, command).await?;
        Ok(DisableUserResponse { user: Some(user) })
    }

    pub(super) async fn enable(
        &self,
        call: UserCall,
        message: EnableUserRequest,
    ) -> Result<EnableUserResponse, CallError> {
        let command = parse::enable(&message)?;
        let user: UserMessage = self.command(&call, "EnableUser", &message, command).await?;
        Ok(EnableUserResponse { user: Some(user) })
    }

    pub(super) async fn users(
        &self,
        call: UserCall,
        message: ListUsersRequest,
    ) -> Result<ListUsersResponse, CallError> {
        // Who sees no mail addresses does not try them either.
        if !message.email.is_empty() {
            call.context.caller.must_be_staff()?;
        }
        let list = self.page_tokens.open(USERS, &call.context, &message)?;
        let (filter, size) = parse::list(&message, list.cursor())?;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        // One more shows whether there is another page.
        let found = persistence::list_users(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let show = |user: &User| call.shown(user);
        let (users, next_page_token) = list.page(size, &found, show, |last| last.registration_id.into_bytes());
        Ok(ListUsersResponse { users, next_page_token })
    }

    pub(super) async fn activities(
        &self,
        call: UserCall,
        message: ListUserActivityRequest,
    ) -> Result<ListUserActivityResponse, CallError> {
        let list = self.page_tokens.open(ACTIVITIES, &call.context, &message)?;
        let (user_id, size) = parse::of_user(&message.user_id, message.page_size)?;
        call.may_see(&user_id)?;
        self.find(&user_id).await?;
        let before = list.cursor().and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_activities(&mut *read, &user_id, before, i64::from(size) + 1).await;
        let found = found.map_err(query_failed)?;
        let (activities, next_page_token) =
            list.page(size, &found, present::activity, |last| last.number.to_be_bytes());
        Ok(ListUserActivityResponse { activities, next_page_token })
    }

    /// The user as last committed.
    pub(super) async fn find(&self, user_id: &UserId) -> Result<User, CallError> {
        let found = persistence::find_user(self.backbone.pool(), user_id).await.map_err(query_failed)?;
        found.ok_or_else(|| user_not_found(user_id).into())
    }
}

pub(super) fn user_id(text: &str) -> Result<UserId, Rejection> {
    UserId::parse(text).map_err(|error| Rejection::invalid_field("user_id", error.reason, error.message))
}
