//! `openorder.payment.v1.PaymentService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, RequestKey};
use openorder_proto::payment::v1::{
    ChargeWalletRequest, ChargeWalletResponse, GetPaymentRequest, GetPaymentResponse, GetWalletRequest,
    GetWalletResponse, ListPaymentsRequest, ListPaymentsResponse,
    payment_service_server::{PaymentService, PaymentServiceServer},
};
use openorder_rpc::{CallContext, ListOf, PageTokens, RequestFingerprint, query_failed, rejection, status};
use openorder_types::{CallError, Caller, UserId};
use prost::Message;
use tonic::{Request, Response, Status, service::Routes};

use crate::{
    application::{PaymentReply, Payments},
    domain::{Command, not_your_wallet, payment_not_found, wallet_not_found},
    persistence, present,
};

/// Name of the list in page tokens.
const PAYMENTS: &str = "payment.payments";

/// The service's routes.
pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Payments>, page_tokens: PageTokens) -> Routes {
    Routes::new(PaymentServiceServer::new(PaymentGrpc { backbone, committer, page_tokens }))
}

struct PaymentGrpc {
    backbone: Arc<Backbone>,
    committer: Committer<Payments>,
    page_tokens: PageTokens,
}

impl PaymentGrpc {
    async fn charge(&self, call: CallContext, message: ChargeWalletRequest) -> Result<ChargeWalletResponse, CallError> {
        let parse::Charge { request_id, user_id, amount } = parse::charge(&message)?;
        if !call.caller.may_act_for(&user_id) {
            return Err(not_your_wallet(&user_id).into());
        }
        let method = "ChargeWallet";
        let RequestFingerprint { meaning, as_sent } = RequestFingerprint::of(method, &message);
        let key = RequestKey {
            caller: call.caller.subject,
            request_id: request_id.into_string(),
            method,
            fingerprint: meaning,
            fingerprint_as_sent: as_sent,
        };
        let command = Command::Charge { user_id, amount };
        match self.committer.submit(Some(key), command, call.trace, call.deadline).await? {
            PaymentReply::Wallet(wallet) => Ok(ChargeWalletResponse { wallet: Some(wallet) }),
            PaymentReply::Noted => Err(CallError::Internal),
        }
    }

    async fn wallet(&self, caller: &Caller, message: GetWalletRequest) -> Result<GetWalletResponse, CallError> {
        let user_id = parse::user_id(&message.user_id)?;
        if !caller.may_act_for(&user_id) {
            return Err(wallet_not_found(&user_id).into());
        }
        let found = persistence::find_wallet(self.backbone.pool(), &user_id).await.map_err(query_failed)?;
        let wallet = found.ok_or_else(|| wallet_not_found(&user_id))?;
        Ok(GetWalletResponse { wallet: Some(present::wallet(&wallet)) })
    }

    async fn payment(&self, caller: &Caller, message: GetPaymentRequest) -> Result<GetPaymentResponse, CallError> {
        let key = parse::key(&message)?;
        let found = persistence::find_payment(self.backbone.pool(), key).await.map_err(query_failed)?;
        let visible = found.filter(|payment| caller.may_act_for(&payment.user_id));
        let payment = visible.ok_or_else(payment_not_found)?;
        Ok(GetPaymentResponse { payment: Some(present::payment(&payment)) })
    }

    async fn payments(&self, caller: &Caller, message: ListPaymentsRequest) -> Result<ListPaymentsResponse, CallError> {
        let conditions = ListPaymentsRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let conditions = conditions.encode_to_vec();
        let cursor = self.page_tokens.decode(PAYMENTS, caller, &conditions, &message.page_token)?;
        let (mut filter, size) = parse::list(&message, cursor.as_deref())?;
        match visible_user(caller, filter.user_id) {
            Visible::Any(user_id) => filter.user_id = user_id,
            Visible::Nothing => return Ok(ListPaymentsResponse::default()),
        }
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_payments(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let of = ListOf { list: PAYMENTS, caller, filter_fingerprint: &conditions, size };
        let page = self.page_tokens.page(&of, &found, present::payment, |last| last.payment_id.into_bytes());
        Ok(ListPaymentsResponse { payments: page.items, next_page_token: page.next_page_token })
    }
}

#[tonic::async_trait]
impl PaymentService for PaymentGrpc {
    async fn charge_wallet(
        &self,
        request: Request<ChargeWalletRequest>,
    ) -> Result<Response<ChargeWalletResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.charge(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_wallet(&self, request: Request<GetWalletRequest>) -> Result<Response<GetWalletResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.wallet(&call.caller, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Result<Response<GetPaymentResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.payment(&call.caller, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.payments(&call.caller, request.into_inner()).await.map(Response::new).map_err(status)
    }
}

/// Whose payments a list may show.
#[derive(Debug, PartialEq, Eq)]
enum Visible {
    /// Those of the user, or of all users.
    Any(Option<UserId>),
    /// What the caller may not see is as if it did not exist.
    Nothing,
}

fn visible_user(caller: &Caller, asked: Option<UserId>) -> Visible {
    if caller.is_staff() {
        return Visible::Any(asked);
    }
    // Nobody but a customer is left, and who is no user has no payments.
    let asked = asked.or_else(|| UserId::parse(&caller.subject).ok());
    match asked.filter(|user_id| caller.may_act_for(user_id)) {
        Some(user_id) => Visible::Any(Some(user_id)),
        None => Visible::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::Role;

    use super::*;

    #[test]
    fn a_list_shows_customers_their_own_and_staff_all() {
        let user = |text: &str| Some(UserId::parse(text).unwrap());
        let ada = Caller::new("ada", [Role::Customer]);
        assert_eq!(visible_user(&ada, None), Visible::Any(user("ada")));
        assert_eq!(visible_user(&ada, user("ada")), Visible::Any(user("ada")));
        assert_eq!(visible_user(&ada, user("bob")), Visible::Nothing);
        for staff in [Caller::new("root", [Role::Operator]), Caller::service("order")] {
            assert_eq!(visible_user(&staff, None), Visible::Any(None));
            assert_eq!(visible_user(&staff, user("bob")), Visible::Any(user("bob")));
        }
        assert_eq!(visible_user(&Caller::new("ada", []), None), Visible::Nothing);
        assert_eq!(visible_user(&Caller::new("no/user", [Role::Customer]), None), Visible::Nothing);
    }
}
