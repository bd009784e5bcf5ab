//! Users: what events tell of them.

use openorder_proto::user::v1::{
    UserCreated, UserDisabled, UserEnabled, UserErased, UserProfile, UserRolesAssigned, UserUpdated,
};
use openorder_proto::{event_types, topics};
use sqlx::postgres::PgRow;

use super::{Event, Fields, Fold, Row};
use crate::verify::database::column;

/// A user without its person: neither mail address nor name leaves its service.
#[derive(Default)]
pub(super) struct User {
    /// A bit a role, as they are stored.
    roles: i32,
    state: i32,
}

impl Fold for User {
    const NAME: &'static str = "users";
    const TOPIC: &'static str = topics::USER_PROFILE;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select user_id, version, roles, state from user_account order by user_id collate \"C\"";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let user =
            Self { roles: i32::from(column::<i16>(row, "roles")?), state: i32::from(column::<i16>(row, "state")?) };
        Ok((column(row, "user_id")?, (column(row, "version")?, user.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        let user = match event.event_type.as_str() {
            event_types::USER_CREATED => event.decode::<UserCreated>()?.user,
            event_types::USER_UPDATED => event.decode::<UserUpdated>()?.user,
            event_types::USER_ROLES_ASSIGNED => event.decode::<UserRolesAssigned>()?.user,
            event_types::USER_DISABLED => event.decode::<UserDisabled>()?.user,
            event_types::USER_ENABLED => event.decode::<UserEnabled>()?.user,
            event_types::USER_ERASED => event.decode::<UserErased>()?.user,
            other => anyhow::bail!("no such event of a user is known: {other}"),
        };
        let UserProfile { roles, state, .. } = user.unwrap_or_default();
        self.roles = roles.iter().filter(|role| (1..31).contains(*role)).fold(0, |bits, role| bits | 1 << role);
        self.state = state;
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![("roles", self.roles.to_string()), ("state", self.state.to_string())]
    }
}
