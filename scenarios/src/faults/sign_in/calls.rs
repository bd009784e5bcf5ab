//! Calls as whoever signs in makes them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use openorder_proto::user::v1::{
    AuthenticateRequest, RefreshTokenRequest, Session, user_service_client::UserServiceClient,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::load::is_transient;
use crate::{Fleet, Shop};

/// The password of every customer.
pub(super) const PASSWORD: &str = "correct horse battery";
/// Between two tries of a call, and between two orders of a customer.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// How long anything may take on a busy machine for which the scenario names no bound.
pub(super) const BOUND: Duration = Duration::from_secs(60);

pub(super) fn users(fleet: &Fleet) -> UserServiceClient<Channel> {
    UserServiceClient::new(channel(&fleet.gateway()))
}

pub(super) fn shop_at(gateway: SocketAddr) -> Shop {
    Shop::new(channel(&format!("http://{gateway}")))
}

fn channel(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("an address");
    endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy()
}

pub(super) fn email(user_id: &str) -> String {
    format!("{user_id}@example.com")
}

pub(super) async fn try_sign_in(mut users: UserServiceClient<Channel>, user_id: String) -> Result<Session, Status> {
    let (email, password) = (email(&user_id), PASSWORD.to_owned());
    let request = AuthenticateRequest { email, password, client_id: "scenario".to_owned() };
    Ok(users.authenticate(request).await?.into_inner().session.expect("a session"))
}

pub(super) async fn sign_in_as(users: &UserServiceClient<Channel>, user_id: &str) -> Session {
    patiently(|| try_sign_in(users.clone(), user_id.to_owned())).await.expect("a sign-in")
}

/// Calls again for as long as a busy machine may take, unless the answer is that it shall not be.
pub(super) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let began = Instant::now();
    loop {
        match call().await {
            Err(status) if is_transient(status.code()) && began.elapsed() < BOUND => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

pub(super) async fn refresh(mut users: UserServiceClient<Channel>, refresh_token: String) -> Result<Session, Status> {
    let request = RefreshTokenRequest { refresh_token };
    Ok(users.refresh_token(request).await?.into_inner().session.expect("a session"))
}

/// A call by whom the session is of.
pub(super) fn with<T>(session: &Session, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", session.access_token);
    request.metadata_mut().insert("authorization", bearer.parse().expect("a token"));
    request
}

pub(super) fn reason(status: &Status) -> String {
    status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason)
}

pub(super) fn described(status: &Status) -> String {
    format!("{} {}", reason(status), status.message())
}
