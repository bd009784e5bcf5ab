//! The coupons that a batch touches: loaded and locked once, changed by events in memory, written once.

use std::collections::{BTreeSet, HashMap, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_proto::promotion::v1 as proto;
use openorder_service::{Aggregate, NewEvents};
use openorder_types::{Fault, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::PromotionReply,
    domain::{Command, Coupon, CouponKey, Decision, Event, IssuedCoupon, State, decide, evolve},
    persistence, present,
};

type Outcome = Result<PromotionReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    stored: HashSet<Uuid>,
    changed: BTreeSet<Uuid>,
    issued: Vec<IssuedCoupon>,
    events: NewEvents,
    now: Timestamp,
}

impl WorkingSet {
    /// Locks every coupon that the batch names, and counts what users have of them: nobody is issued one meanwhile.
    pub(crate) async fn load(unit: &mut UnitOfWork, batch: &[Envelope<'_, Command>]) -> Result<Self, Fault> {
        let keys: HashSet<CouponKey> = batch.iter().map(|envelope| envelope.command.key()).collect();
        let coupons = persistence::lock_coupons(unit.connection(), &keys).await?;
        let users: BTreeSet<&str> = batch.iter().filter_map(|envelope| user_of(envelope.command)).collect();
        let ids: Vec<Uuid> = coupons.iter().map(|coupon| coupon.coupon_id).collect();
        let issued = persistence::count_issued(unit.connection(), &ids, &users.into_iter().collect::<Vec<_>>()).await?;
        Ok(Self::of(coupons, issued, unit.now()))
    }

    fn of(coupons: Vec<Coupon>, issued: HashMap<(Uuid, UserId), i64>, now: Timestamp) -> Self {
        Self {
            stored: coupons.iter().map(|coupon| coupon.coupon_id).collect(),
            state: State::of(coupons, issued),
            changed: BTreeSet::new(),
            issued: Vec::new(),
            events: NewEvents::default(),
            now,
        }
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn execute(&mut self, index: usize, command: &Command) -> Outcome {
        self.events.begin_command(index);
        let Some(event) = decide(&self.state, command, &Decision { now: self.now })? else {
            return Ok(PromotionReply::Coupon(present::coupon(self.state.find(&command.key())?)));
        };
        evolve(&mut self.state, &event);
        let coupon = self.state.find(&command.key())?;
        self.changed.insert(coupon.coupon_id);
        let aggregate = Aggregate::new("coupon", coupon.coupon_id, coupon.version);
        match event {
            Event::Created(_) => {
                let shown = present::coupon(coupon);
                self.events.append(&proto::CouponCreated { coupon: Some(shown.clone()) }, aggregate);
                Ok(PromotionReply::Coupon(shown))
            }
            Event::Updated { changes, .. } => {
                let shown = present::coupon(coupon);
                let update_mask = Some(present::mask(&changes.fields()));
                self.events.append(&proto::CouponUpdated { coupon: Some(shown.clone()), update_mask }, aggregate);
                Ok(PromotionReply::Coupon(shown))
            }
            Event::Issued(issued) => {
                let shown = present::issued_coupon(&issued, &coupon.code);
                let aggregate = Aggregate::new("issued_coupon", issued.issued_coupon_id, issued.version);
                let message = proto::CouponIssued { issued_coupon: Some(shown.clone()) };
                self.events.append(&message, aggregate.keyed_by(&issued.user_id));
                self.issued.push(issued);
                Ok(PromotionReply::Issued(shown))
            }
        }
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed.iter().filter_map(|id| self.state.coupon(*id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|coupon| self.stored.contains(&coupon.coupon_id));
        persistence::save_coupons(unit.connection(), &new, &stored).await?;
        persistence::add_issued(unit.connection(), &self.issued).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn user_of(command: &Command) -> Option<&str> {
    match command {
        Command::Issue { user_id, .. } => Some(user_id.as_str()),
        Command::Create(_) | Command::Update { .. } => None,
    }
}
