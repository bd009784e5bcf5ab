//! What the gateway answers itself: health and reflection.

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use openorder_rpc::Refusal;
use openorder_rpc::server::{HEALTH_CHECK, LimitedBody, OVERLOADED_RETRY_AFTER};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::answers::{AnswerBody, CallerAnswers};
use crate::body::{HeldBody, ReadLimits, Received, read_whole};
use crate::identity::UnderWay;
use crate::message::{Encoding, Expected, plain};
use crate::shares::{Member, Resource};

const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// A method that the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalMethod {
    /// Counts against no bound: a load balancer that is refused takes the gateway away from everybody.
    HealthCheck,
    /// A stream of answers.
    HealthWatch,
    /// A stream of questions and answers.
    Reflection,
}

impl LocalMethod {
    /// All paths that have one.
    pub(crate) const PATHS: [&str; 4] = [HEALTH_CHECK, HEALTH_WATCH, REFLECTION[0], REFLECTION[1]];

    pub(crate) fn find(path: &str) -> Option<Self> {
        match path {
            HEALTH_CHECK => Some(Self::HealthCheck),
            HEALTH_WATCH => Some(Self::HealthWatch),
            _ if REFLECTION.contains(&path) => Some(Self::Reflection),
            _ => None,
        }
    }

    /// Whether the answer may stay open for hours.
    pub(crate) fn streams(self) -> bool {
        self != Self::HealthCheck
    }
}

/// A call to the gateway itself.
pub(crate) struct LocalCall {
    pub(crate) method: LocalMethod,
    pub(crate) routes: Routes,
    pub(crate) member: Arc<Member>,
    pub(crate) under_way: UnderWay,
    pub(crate) answers: CallerAnswers,
    pub(crate) limits: ReadLimits,
    pub(crate) parts: Parts,
    pub(crate) body: Incoming,
}

impl LocalCall {
    pub(crate) async fn answer(self) -> Result<Response<HeldBody<AnswerBody>>, Status> {
        let Self { method, mut routes, member, under_way: _under_way, answers, limits, mut parts, body } = self;
        let stream = || {
            let place = member.take(Resource::Streams, 1);
            place.ok_or_else(|| Refusal::overloaded(OVERLOADED_RETRY_AFTER))
        };
        let (body, place) = match method {
            // Its questions come while it is answered.
            LocalMethod::Reflection => (Body::new(LimitedBody::new(body, limits.body_bytes)), Some(stream()?)),
            LocalMethod::HealthCheck | LocalMethod::HealthWatch => {
                let encoding = Encoding::take(&mut parts.headers)?;
                let Received { bytes, place: _bytes } = read_whole(body, limits, &member).await?;
                let expected = Expected { encoding, any_number: false, bytes_max: limits.body_bytes };
                let body = Body::new(http_body_util::Full::new(plain(bytes, expected)?));
                (body, if method.streams() { Some(stream()?) } else { None })
            }
        };
        let answered: Result<_, Infallible> = routes.call(Request::from_parts(parts, body)).await;
        let Ok(answer) = answered;
        Ok(answers.made_here(answer).map(|body| HeldBody::new(body, place)))
    }
}
