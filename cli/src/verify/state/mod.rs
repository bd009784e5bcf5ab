//! Invariant 5: the state of event-sourced aggregates is the fold of their events. One snapshot a database: nothing is in
//! flight. Quantities and balances are invariants 2 and 3.
//!
//! The folds here are written against the contract alone, so that they do not share a mistake with the services.

mod coupons;
mod orders;
mod payments;
mod shipments;
mod stock;
mod users;

use anyhow::Context;
use sqlx::postgres::PgRow;

use super::Check;
use super::aggregates::Slice;
use super::database::{Keyed, Met, Snapshot};
use super::debits::Debits;
use super::floor::Floor;
use super::log::{Event, Log};
use super::report::Findings;
use super::services::Service;

/// Names and values that a row and a fold are compared by; a fold leaves out what its events do not tell.
type Fields = Vec<(&'static str, String)>;

/// A row: the aggregate's id as the log has it, its version, its fields.
type Row = (String, (i64, Fields));

/// An aggregate that events build up.
trait Fold: Default {
    /// What it is called in the counts.
    const NAME: &'static str;
    const TOPIC: &'static str;
    /// Of a topic with several kinds of aggregates, the event types of this one; empty for all.
    const TYPES: &'static [&'static str];
    /// Its rows, in the order of its id as text.
    const ROWS: &'static str;

    fn row(row: &PgRow) -> sqlx::Result<Row>;
    fn apply(&mut self, event: &Event) -> anyhow::Result<()>;
    fn fields(self) -> Fields;
}

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let mut snapshot = check.databases.snapshot(Service::Order).await?;
    compare::<orders::Order>(&mut snapshot, None, findings).await?;
    let mut snapshot = check.databases.snapshot(Service::Payment).await?;
    compare::<payments::Payment>(&mut snapshot, None, findings).await?;
    let mut slice = Some(Slice::WHOLE);
    while let Some(next) = slice {
        let debits = Debits::read(&mut snapshot, next, check.aggregates_max).await?;
        compare::<payments::Wallet>(&mut snapshot, Some(&debits), findings).await?;
        slice = debits.slice.next();
    }
    let mut snapshot = check.databases.snapshot(Service::Inventory).await?;
    compare::<stock::Level>(&mut snapshot, None, findings).await?;
    compare::<stock::Reservation>(&mut snapshot, None, findings).await?;
    let mut snapshot = check.databases.snapshot(Service::Promotion).await?;
    compare::<coupons::Coupon>(&mut snapshot, None, findings).await?;
    compare::<coupons::IssuedCoupon>(&mut snapshot, None, findings).await?;
    coupons::check_uses(&mut snapshot, findings).await?;
    coupons::check_counts(&mut snapshot, findings).await?;
    let mut snapshot = check.databases.snapshot(Service::Shipping).await?;
    compare::<shipments::Shipment>(&mut snapshot, None, findings).await?;
    let mut snapshot = check.databases.snapshot(Service::User).await?;
    compare::<users::User>(&mut snapshot, None, findings).await
}

/// Where `debits` are given, aggregates are wallets, of which those of a slice are compared; payments make versions of
/// them too.
async fn compare<F: Fold>(
    snapshot: &mut Snapshot,
    debits: Option<&Debits>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let compared = Compared { debits, floor: snapshot.floor };
    let mut log = Log::read(snapshot, F::TOPIC).await?.only(F::TYPES);
    let mut stored = Keyed::read(snapshot, F::ROWS, F::row).await?;
    findings.note_floor(snapshot.service, &compared.floor);
    while let Some(first) = log.next(snapshot).await? {
        let mut folded = Folded::<F>::read(snapshot, &mut log, first).await?;
        if !compared.holds(&folded.id) {
            continue;
        }
        folded.version = compared.version(&folded.id, folded.version);
        loop {
            match stored.meet(snapshot, &folded.id).await? {
                Met::Before(id, _) => compared.without_events::<F>(id, findings),
                Met::Same((version, fields)) => {
                    folded.compare(version, &fields, findings);
                    break;
                }
                Met::None => {
                    findings.violated("STATE_MISSING", &folded.id, F::NAME);
                    break;
                }
            }
        }
    }
    while let Some((id, _)) = stored.next(snapshot).await? {
        compared.without_events::<F>(id, findings);
    }
    Ok(())
}

/// Which aggregates are compared, and what their own log does not tell of them.
struct Compared<'a> {
    debits: Option<&'a Debits>,
    floor: Floor,
}

impl Compared<'_> {
    fn holds(&self, id: &str) -> bool {
        self.debits.is_none_or(|debits| debits.covers(id))
    }

    /// The version of an aggregate whose own events lead to this one.
    fn version(&self, id: &str, version: i64) -> i64 {
        let debit = self.debits.and_then(|debits| debits.of(id));
        debit.map_or(version, |debit| version.max(debit.versions.highest()))
    }

    /// A row whose aggregate has no events in the log.
    fn without_events<F: Fold>(&self, id: String, findings: &mut Findings) {
        match self.floor.may_hide(&id) {
            _ if !self.holds(&id) => {}
            true => findings.count(&format!("{} whose events are pruned", F::NAME), 1),
            false => findings.violated("WITHOUT_EVENTS", id, F::NAME),
        }
    }
}

/// An aggregate as the events that the log keeps of it tell.
struct Folded<F> {
    id: String,
    fold: F,
    version: i64,
    /// Whether its first events are pruned.
    is_cut: bool,
}

impl<F: Fold> Folded<F> {
    /// The aggregate of this event, which is the first of it in the log.
    async fn read(snapshot: &mut Snapshot, log: &mut Log, first: Event) -> anyhow::Result<Self> {
        let id = first.aggregate_id.clone();
        let is_cut = first.version != 1 && snapshot.floor.may_hide(&id);
        let (mut fold, mut version) = (F::default(), 0);
        let mut next = Some(first);
        while let Some(event) = next {
            fold.apply(&event).with_context(|| format!("{} {id}", F::NAME))?;
            version = event.version;
            next = log.next_of(snapshot, &id).await?;
        }
        Ok(Self { id, fold, version, is_cut })
    }

    /// Notes where its row differs.
    fn compare(self, stored_version: i64, stored: &Fields, findings: &mut Findings) {
        findings.checked();
        findings.count(F::NAME, 1);
        let mut fields = self.fold.fields();
        if self.is_cut {
            findings.count(&format!("{} whose first events are pruned", F::NAME), 1);
            fields = told(fields, &F::default().fields());
        }
        let mut differs = differing(&fields, stored);
        if stored_version != self.version {
            differs.push("version");
        }
        if !differs.is_empty() {
            // Only the names: among the values are addresses.
            let detail = format!("{}: {} differ from the fold of its events", F::NAME, differs.join(", "));
            findings.violated("STATE_DIFFERS", &self.id, detail);
        }
    }
}

/// Of an aggregate whose first events are pruned, what the others have set.
fn told(fields: Fields, unset: &Fields) -> Fields {
    fields.into_iter().filter(|field| !unset.contains(field)).collect()
}

fn differing(fold: &Fields, stored: &Fields) -> Vec<&'static str> {
    let differs = |(name, value): &&(&'static str, String)| {
        stored.iter().find(|(known, _)| known == name).is_none_or(|(_, stored)| stored != value)
    };
    fold.iter().filter(differs).map(|(name, _)| *name).collect()
}

/// An amount that may be missing.
fn amount(amount: Option<(i64, String)>) -> String {
    amount.map(|(minor_units, currency)| format!("{minor_units} {currency}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_without_its_first_events_is_compared_by_what_the_others_have_set() {
        let unset = vec![("state", "0".to_owned()), ("customer", String::new())];
        let fold = vec![("state", "25".to_owned()), ("customer", String::new())];
        let stored = vec![("state", "25".to_owned()), ("customer", "anna".to_owned())];
        assert!(differing(&told(fold.clone(), &unset), &stored).is_empty());
        assert_eq!(differing(&fold, &stored), ["customer"]);
        assert_eq!(differing(&told(fold, &unset), &vec![("state", "20".to_owned())]), ["state"]);
    }

    #[test]
    fn a_fold_is_compared_by_what_it_knows() {
        let fold = vec![("state", "3".to_owned()), ("reason", "so".to_owned())];
        let mut stored = vec![("reason", "so".to_owned()), ("lines", "[]".to_owned()), ("state", "3".to_owned())];
        assert!(differing(&fold, &stored).is_empty());
        stored[0].1.clear();
        stored.pop();
        assert_eq!(differing(&fold, &stored), ["state", "reason"]);
    }
}
