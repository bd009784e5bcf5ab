//! `openorder.loyalty.v1.LoyaltyService`: parse, call, answer.

use openorder_messaging::Committer;
use openorder_proto::loyalty::v1::{
    SpendPointsRequest, SpendPointsResponse,
    loyalty_service_server::{LoyaltyService, LoyaltyServiceServer},
};
use openorder_rpc::{CallContext, RequestFingerprint, Violations, calls};
use openorder_service::Commands;
use openorder_types::{CallError, Rejection, RequestId, UserId};
use tonic::service::Routes;

use crate::{application::Loyalty, domain::Command};

struct LoyaltyGrpc(Committer<Loyalty>);

pub fn service(committer: Committer<Loyalty>) -> Routes {
    Routes::new(LoyaltyServiceServer::new(LoyaltyGrpc(committer)))
}

calls! {
    impl LoyaltyService for LoyaltyGrpc {
        spend_points(SpendPointsRequest) -> SpendPointsResponse = spend, anyone;
    }
}

impl LoyaltyGrpc {
    async fn spend(&self, call: CallContext, message: SpendPointsRequest) -> Result<SpendPointsResponse, CallError> {
        let mut violations = Violations::new();
        let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
        let customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
        if message.points < 1 {
            violations.add("points", "POINTS_OUT_OF_RANGE", "must be 1 or more");
        }
        let (Some(request_id), Some(customer_id), true) = (request_id, customer_id, message.points >= 1) else {
            return Err(violations.into_rejection().into());
        };
        if !call.caller.may_act_for(&customer_id) {
            return Err(Rejection::permission_denied("NOT_YOUR_ACCOUNT", "customers spend their own points").into());
        }
        let fingerprint = RequestFingerprint::of("SpendPoints", &message);
        let command = Command::Spend { customer_id, points: message.points };
        self.0.call(&call, fingerprint, request_id.into_string(), command).await
    }
}
