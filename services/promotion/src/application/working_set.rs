//! The coupons that a batch touches: loaded and locked once, changed by events in memory, written once.

use std::collections::{BTreeSet, HashMap, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_service::NewEvents;
use openorder_types::{Fault, Rejection, Timestamp};
use uuid::Uuid;

use crate::{
    application::{PromotionReply, events},
    domain::{Command, CouponKey, Decision, Event, IssuedCoupon, State, decide, evolve},
    persistence, present,
};

type Outcome = Result<PromotionReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    stored: HashSet<Uuid>,
    changed: BTreeSet<Uuid>,
    /// Issued by this batch.
    issued: Vec<IssuedCoupon>,
    stored_uses: HashSet<Uuid>,
    /// Orders whose use of a coupon changed.
    changed_uses: BTreeSet<Uuid>,
    events: NewEvents,
    now: Timestamp,
}

impl WorkingSet {
    /// Locks every coupon that is issued or changed, and counts what users have of them: nobody is issued one meanwhile.
    /// Then locks every issued coupon that is to be used, and what is known of its use.
    pub(crate) async fn load(unit: &mut UnitOfWork, batch: &[Envelope<'_, Command>]) -> Result<Self, Fault> {
        let now = unit.now();
        let keys: HashSet<CouponKey> = batch.iter().filter_map(|envelope| envelope.command.key()).collect();
        let (mut coupons, mut counted) = (Vec::new(), HashMap::new());
        if !keys.is_empty() {
            coupons = persistence::lock_coupons(unit.connection(), &keys).await?;
            let users: BTreeSet<&str> = batch.iter().filter_map(|envelope| user_of(envelope.command)).collect();
            let ids: Vec<Uuid> = coupons.iter().map(|coupon| coupon.coupon_id).collect();
            let users: Vec<&str> = users.into_iter().collect();
            counted = persistence::count_issued(unit.connection(), &ids, &users).await?;
        }
        let stored = coupons.iter().map(|coupon| coupon.coupon_id).collect();
        let requests: Vec<_> = batch.iter().filter_map(|envelope| envelope.command.coupon_use()).collect();
        let (mut issued, mut uses) = (Vec::new(), Vec::new());
        if !requests.is_empty() {
            let orders: BTreeSet<Uuid> = requests.iter().map(|request| request.order_id).collect();
            let ids: BTreeSet<Uuid> = requests.iter().map(|request| request.issued_coupon_id).collect();
            issued = persistence::lock_issued(unit.connection(), &ids).await?;
            uses = persistence::lock_uses(unit.connection(), &orders).await?;
            // What a coupon takes off never changes; its time may, and counts as it stands when this batch looks.
            let known: HashSet<Uuid> = coupons.iter().map(|coupon| coupon.coupon_id).collect();
            let unknown = issued.iter().map(|issued| CouponKey::Id(issued.coupon_id));
            let unknown: HashSet<CouponKey> =
                unknown.filter(|key| !matches!(key, CouponKey::Id(id) if known.contains(id))).collect();
            coupons.extend(persistence::find_coupons(unit.connection(), &unknown).await?);
        }
        Ok(Self {
            stored,
            changed: BTreeSet::new(),
            issued: Vec::new(),
            stored_uses: uses.iter().map(|one| one.order_id).collect(),
            changed_uses: BTreeSet::new(),
            state: State::of(coupons, counted).with_uses(issued, uses),
            events: NewEvents::default(),
            now,
        })
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn execute(&mut self, index: usize, command: &Command) -> Outcome {
        self.events.begin_command(index);
        let decided = decide(&self.state, command, &Decision { now: self.now })?;
        for event in &decided {
            evolve(&mut self.state, event);
            self.mark_changed(event);
            events::publish(&mut self.events, event, &self.state);
        }
        self.reply(command, &decided)
    }

    fn mark_changed(&mut self, event: &Event) {
        match event {
            Event::Created(coupon) => drop(self.changed.insert(coupon.coupon_id)),
            Event::Updated { coupon_id, .. } => drop(self.changed.insert(*coupon_id)),
            Event::Issued(issued) => {
                self.changed.insert(issued.coupon_id);
                self.issued.push(issued.clone());
            }
            Event::Held(made) | Event::Refused(made) | Event::CalledOff(made) => {
                self.changed_uses.insert(made.order_id);
            }
            Event::Redeemed { order_id, .. } | Event::Restored { order_id, .. } => {
                self.changed_uses.insert(*order_id);
            }
        }
    }

    /// What the command left. A refused use is a fact that was committed and published: the reply carries it.
    fn reply(&self, command: &Command, decided: &[Event]) -> Outcome {
        let reply = match (command, decided) {
            (Command::Issue { .. }, [Event::Issued(issued)]) => {
                let coupon = self.state.coupon(issued.coupon_id);
                coupon.map(|coupon| PromotionReply::Issued(present::issued_coupon(issued, &coupon.code)))
            }
            (Command::Create(new), _) => {
                self.state.coupon(new.coupon_id).map(present::coupon).map(PromotionReply::Coupon)
            }
            (Command::Update { key, .. }, _) => Some(PromotionReply::Coupon(present::coupon(self.state.find(key)?))),
            (Command::Hold(hold), _) => {
                self.state.coupon_use(hold.request.order_id).map(present::coupon_use).map(PromotionReply::Use)
            }
            _ => None,
        };
        Ok(reply.unwrap_or(PromotionReply::Noted))
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed.iter().filter_map(|id| self.state.coupon(*id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|coupon| self.stored.contains(&coupon.coupon_id));
        persistence::save_coupons(unit.connection(), &new, &stored).await?;
        persistence::add_issued(unit.connection(), &self.issued).await?;
        let changed = self.changed_uses.iter().filter_map(|order_id| self.state.coupon_use(*order_id));
        let changed: Vec<_> = changed.collect();
        let ids: BTreeSet<Uuid> = changed.iter().map(|one| one.issued_coupon_id).collect();
        let moved: Vec<_> = ids.iter().filter_map(|id| self.state.issued_coupon(*id)).collect();
        persistence::save_issued(unit.connection(), &moved).await?;
        let (stored, new): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|one| self.stored_uses.contains(&one.order_id));
        persistence::save_uses(unit.connection(), &new, &stored).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn user_of(command: &Command) -> Option<&str> {
    match command {
        Command::Issue { user_id, .. } => Some(user_id.as_str()),
        _ => None,
    }
}
