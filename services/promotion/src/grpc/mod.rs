//! `openorder.promotion.v1.PromotionService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use chrono::Utc;
use openorder_messaging::{Backbone, Committer, SharedReads};
use openorder_proto::promotion::v1::{
    CouponUse, CouponUseState, CreateCouponRequest, CreateCouponResponse, GetCouponRequest, GetCouponResponse,
    HoldCouponRequest, HoldCouponResponse, IssueCouponRequest, IssueCouponResponse, ListCouponsRequest,
    ListCouponsResponse, ListIssuedCouponsRequest, ListIssuedCouponsResponse, UpdateCouponRequest,
    UpdateCouponResponse,
    promotion_service_server::{PromotionService, PromotionServiceServer},
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, calls, query_failed};
use openorder_service::Commands;
use openorder_types::{CallError, Fault, UserId};
use sqlx::PgPool;
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    application::Promotions,
    domain::{Command, Coupon, CouponKey, RefusalReason, not_found, not_your_coupon, refused, released},
    persistence, present,
};

/// Names of the lists in page tokens.
const COUPONS: &str = "promotion.coupons";
const ISSUED_COUPONS: &str = "promotion.issued_coupons";

pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Promotions>, page_tokens: PageTokens) -> Routes {
    let coupons = backbone.shared_reads(find);
    Routes::new(PromotionServiceServer::new(PromotionGrpc { backbone, coupons, committer, page_tokens }))
}

/// A coupon has both keys.
async fn find(pool: PgPool, keys: Vec<CouponKey>) -> Result<Vec<(CouponKey, Coupon)>, Fault> {
    let found = persistence::find_coupons(&pool, &keys.into_iter().collect()).await?;
    let by_key = found.into_iter().flat_map(|coupon| {
        [(CouponKey::Code(coupon.code.clone()), coupon.clone()), (CouponKey::Id(coupon.coupon_id), coupon)]
    });
    Ok(by_key.collect())
}

struct PromotionGrpc {
    backbone: Arc<Backbone>,
    coupons: SharedReads<CouponKey, Coupon>,
    committer: Committer<Promotions>,
    page_tokens: PageTokens,
}

impl PromotionGrpc {
    async fn create(&self, call: CallContext, message: CreateCouponRequest) -> Result<CreateCouponResponse, CallError> {
        let (request_id, command) = parse::create(&message, Uuid::now_v7(), Utc::now())?;
        let fingerprint = RequestFingerprint::of("CreateCoupon", &message);
        let coupon = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(CreateCouponResponse { coupon: Some(coupon) })
    }

    async fn update(&self, call: CallContext, message: UpdateCouponRequest) -> Result<UpdateCouponResponse, CallError> {
        let (request_id, command) = parse::update(&message)?;
        let canonical = parse::canonical_update(&message);
        let fingerprint = RequestFingerprint::of_canonical("UpdateCoupon", &message, Some(&canonical));
        let coupon = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(UpdateCouponResponse { coupon: Some(coupon) })
    }

    async fn issue(&self, call: CallContext, message: IssueCouponRequest) -> Result<IssueCouponResponse, CallError> {
        let parse::Issue { request_id, user_id, command } = parse::issue(&message, Uuid::now_v7())?;
        if !call.caller.may_act_for(&user_id) {
            return Err(not_your_coupon(&user_id).into());
        }
        let fingerprint = RequestFingerprint::of("IssueCoupon", &message);
        let issued = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(IssueCouponResponse { issued_coupon: Some(issued) })
    }

    /// The answer is a use that is held, or the reason why there is none.
    async fn hold(&self, call: CallContext, message: HoldCouponRequest) -> Result<HoldCouponResponse, CallError> {
        let (request_id, hold) = parse::hold(&message)?;
        let order_id = hold.request.order_id;
        let fingerprint = RequestFingerprint::of("HoldCoupon", &message);
        let command = Command::Hold(hold);
        let decided: CouponUse = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        match (decided.state(), RefusalReason::from_number(i16::try_from(decided.reason).unwrap_or_default())) {
            (CouponUseState::Held | CouponUseState::Redeemed, _) => {
                Ok(HoldCouponResponse { coupon_use: Some(decided) })
            }
            (CouponUseState::Refused, Some(reason)) => Err(refused(order_id, reason).into()),
            _ => Err(released(order_id).into()),
        }
    }

    async fn coupon(&self, _: CallContext, message: GetCouponRequest) -> Result<GetCouponResponse, CallError> {
        let key = parse::get(&message)?;
        let found = self.coupons.get(key.clone()).await.map_err(query_failed)?;
        let coupon = found.ok_or_else(|| not_found(&key))?;
        Ok(GetCouponResponse { coupon: Some(present::coupon(&coupon)) })
    }

    async fn coupons(&self, call: CallContext, message: ListCouponsRequest) -> Result<ListCouponsResponse, CallError> {
        let size = parse::list(&message)?;
        let list = self.page_tokens.open(COUPONS, &call, &message)?;
        let before = list.cursor().and_then(|bytes| Uuid::from_slice(bytes).ok());
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        // One more shows whether there is another page.
        let found = persistence::list_coupons(&mut *read, before, i64::from(size) + 1).await.map_err(query_failed)?;
        let (coupons, next_page_token) = list.page(size, &found, present::coupon, |last| last.coupon_id.into_bytes());
        Ok(ListCouponsResponse { coupons, next_page_token })
    }

    async fn issued_coupons(
        &self,
        call: CallContext,
        message: ListIssuedCouponsRequest,
    ) -> Result<ListIssuedCouponsResponse, CallError> {
        let list = self.page_tokens.open(ISSUED_COUPONS, &call, &message)?;
        let (mut filter, size) = parse::list_issued(&message, list.cursor())?;
        if !call.caller.reads_all() {
            // Nobody but a customer is left, and who is no user was issued nothing.
            let own = filter.user_id.or_else(|| UserId::parse(&call.caller.subject).ok());
            let Some(user_id) = own.filter(|user_id| call.caller.may_act_for(user_id)) else {
                return Ok(ListIssuedCouponsResponse::default());
            };
            filter.user_id = Some(user_id);
        }
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_issued(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let (issued_coupons, next_page_token) = list.page(
            size,
            &found,
            |(issued, code)| present::issued_coupon(issued, code),
            |(last, _)| last.issued_coupon_id.into_bytes(),
        );
        Ok(ListIssuedCouponsResponse { issued_coupons, next_page_token })
    }
}

calls! {
    impl PromotionService for PromotionGrpc {
        create_coupon(CreateCouponRequest) -> CreateCouponResponse = create, staff;
        update_coupon(UpdateCouponRequest) -> UpdateCouponResponse = update, staff;
        get_coupon(GetCouponRequest) -> GetCouponResponse = coupon, anyone;
        list_coupons(ListCouponsRequest) -> ListCouponsResponse = coupons, anyone;
        issue_coupon(IssueCouponRequest) -> IssueCouponResponse = issue, anyone;
        hold_coupon(HoldCouponRequest) -> HoldCouponResponse = hold, staff;
        list_issued_coupons(ListIssuedCouponsRequest) -> ListIssuedCouponsResponse = issued_coupons, anyone;
    }
}
