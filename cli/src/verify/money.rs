//! Invariant 3: money adds up, by the event log of the payment service. One snapshot: nothing is in flight.

use std::collections::BTreeMap;

use openorder_proto::payment::v1::{
    PaymentCompleted, PaymentRefunded, WalletChargeCause, WalletCharged, WalletDebited,
};
use openorder_proto::{event_types, topics};
use openorder_types::Money;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Check;
use super::aggregates::Slice;
use super::database::{Keyed, Met, Snapshot, column};
use super::debits::{Debit, Debits};
use super::difference::Difference;
use super::floor::Floor;
use super::log::{Event, Log, money};
use super::report::Findings;
use super::services::Service;

/// Money of one currency, in minor units.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// What was in wallets before the first event that is kept of them.
    before: i128,
    charged: i128,
    paid: i128,
    refunded: i128,
    in_wallets: i128,
}

/// What left and came back to wallets, against what payments say.
struct Movements {
    debits: Difference<u128>,
    refunds: Difference<u128>,
}

/// A wallet's row: currency and balance.
type Wallet = (String, i64);

fn wallet(row: &PgRow) -> sqlx::Result<(String, Wallet)> {
    Ok((column(row, "user_id")?, (column(row, "currency")?, column(row, "balance_minor_units")?)))
}

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let mut snapshot = check.databases.snapshot(Service::Payment).await?;
    findings.note_floor(Service::Payment, &snapshot.floor);
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    let mut movements = Movements { debits: Difference::new(), refunds: Difference::new() };
    all_wallets(check, &mut snapshot, &mut movements, &mut sums, findings).await?;
    payments(&mut snapshot, &mut movements, &mut sums, findings).await?;
    for (currency, sums) in &sums {
        findings.count(&format!("{currency} minor units in wallets"), sums.in_wallets);
        let due = sums.before + sums.charged - sums.paid + sums.refunded;
        if sums.in_wallets != due {
            let before = if sums.before == 0 { "" } else { "what was there + " };
            let detail = format!("{} in wallets; {before}charged - paid + refunded is {due}", sums.in_wallets);
            findings.violated("SUM_NOT_CONSERVED", currency, detail);
        }
    }
    let even = movements.debits.is_even() & movements.refunds.is_even();
    if !even {
        let mut quiet = Findings::quiet(findings);
        all_wallets(check, &mut snapshot, &mut movements, &mut BTreeMap::new(), &mut quiet).await?;
        payments(&mut snapshot, &mut movements, &mut BTreeMap::new(), &mut quiet).await?;
        for uneven in movements.debits.uneven() {
            let detail = format!("{} debits of a wallet for {} such payments", uneven.left, uneven.right);
            findings.violated("DEBIT_DIFFERS", Uuid::from_u128(uneven.key), detail);
        }
        for uneven in movements.refunds.uneven() {
            let detail = format!("{} refunds to a wallet for {} such refunded payments", uneven.left, uneven.right);
            findings.violated("REFUND_DIFFERS", Uuid::from_u128(uneven.key), detail);
        }
    }
    Ok(())
}

/// All wallets, a slice of them after the other.
async fn all_wallets(
    check: &Check<'_>,
    snapshot: &mut Snapshot,
    movements: &mut Movements,
    sums: &mut BTreeMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut slice = Some(Slice::WHOLE);
    while let Some(next) = slice {
        let debits = Debits::read(snapshot, next, check.aggregates_max).await?;
        wallets(snapshot, &debits, movements, sums, findings).await?;
        slice = debits.slice.next();
    }
    Ok(())
}

/// The wallets of a slice, by their events and by what payments say that they took.
async fn wallets(
    snapshot: &mut Snapshot,
    debits: &Debits,
    movements: &mut Movements,
    sums: &mut BTreeMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut log = Log::read(snapshot, topics::PAYMENT_WALLET).await?;
    let sql = "select user_id, currency, balance_minor_units from wallet order by user_id collate \"C\"";
    let mut stored = Keyed::read(snapshot, sql, wallet).await?;
    while let Some(first) = log.next(snapshot).await? {
        let user_id = first.aggregate_id.clone();
        if !debits.covers(&user_id) {
            while log.next_of(snapshot, &user_id).await?.is_some() {}
            continue;
        }
        let mut balances = balances_before(&first, snapshot.floor, debits.of(&user_id), sums, findings)?;
        let mut next = Some(first);
        while let Some(event) = next {
            let (amount, sign) = movement(&event, movements, sums)?;
            *balances.entry(amount.currency().as_str().to_owned()).or_default() +=
                i128::from(sign * amount.minor_units());
            next = log.next_of(snapshot, &user_id).await?;
        }
        loop {
            match stored.meet(snapshot, &user_id).await? {
                Met::Before(user_id, wallet) => {
                    unexplained(snapshot.floor, &user_id, &wallet, debits, sums, findings);
                }
                Met::Same(wallet) => {
                    explained(&user_id, &wallet, balances, sums, findings);
                    break;
                }
                Met::None => {
                    findings.violated("WALLET_MISSING", &user_id, format!("by its events it holds {balances:?}"));
                    break;
                }
            }
        }
    }
    while let Some((user_id, wallet)) = stored.next(snapshot).await? {
        unexplained(snapshot.floor, &user_id, &wallet, debits, sums, findings);
    }
    Ok(())
}

/// What was in a wallet before the first event that is kept of it, less what payments say that they took; by currency.
fn balances_before(
    first: &Event,
    floor: Floor,
    debit: Option<&Debit>,
    sums: &mut BTreeMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<BTreeMap<String, i128>> {
    let mut balances: BTreeMap<String, i128> = BTreeMap::new();
    if first.version != 1 && floor.may_hide(&first.aggregate_id) {
        findings.count("wallets whose first events are pruned", 1);
        let before = match debit.filter(|debit| debit.versions.lowest() < Some(first.version)) {
            Some(debit) => Money::new(debit.before_minor_units, debit.currency),
            None => balance_before(first)?,
        };
        let currency = before.currency();
        *balances.entry(currency.as_str().to_owned()).or_default() += i128::from(before.minor_units());
        sums.entry(currency.as_str().to_owned()).or_default().before += i128::from(before.minor_units());
    }
    if let Some(debit) = debit {
        *balances.entry(debit.currency.as_str().to_owned()).or_default() -= debit.minor_units;
        of_others(debit, &first.aggregate_id, findings);
    }
    Ok(balances)
}

/// A wallet, and what is due in it by its events.
fn explained(
    user_id: &str,
    wallet: &Wallet,
    mut due: BTreeMap<String, i128>,
    sums: &mut BTreeMap<String, Sums>,
    findings: &mut Findings,
) {
    let (currency, balance) = wallet;
    findings.checked();
    findings.count("wallets", 1);
    sums.entry(currency.clone()).or_default().in_wallets += i128::from(*balance);
    let expected = due.remove(currency).unwrap_or_default();
    if i128::from(*balance) != expected || !due.is_empty() {
        let detail = format!("{balance} {currency} in it; charges - debits + refunds is {expected}");
        findings.violated("BALANCE_DIFFERS", user_id, detail);
    }
    if *balance < 0 {
        findings.violated("BALANCE_NEGATIVE", user_id, format!("{balance} {currency}"));
    }
}

/// A wallet pays in its own currency.
fn of_others(debit: &Debit, user_id: &str, findings: &mut Findings) {
    if debit.of_others > 0 {
        let detail = format!("{} payments from it in another currency than {}", debit.of_others, debit.currency);
        findings.violated("BALANCE_DIFFERS", user_id, detail);
    }
}

/// A wallet without an event of its own.
fn unexplained(
    floor: Floor,
    user_id: &str,
    wallet: &Wallet,
    debits: &Debits,
    sums: &mut BTreeMap<String, Sums>,
    findings: &mut Findings,
) {
    if !debits.covers(user_id) {
        return;
    }
    let (currency, balance) = wallet;
    let sums = sums.entry(currency.clone()).or_default();
    sums.in_wallets += i128::from(*balance);
    if floor.may_hide(user_id) {
        findings.count("wallets whose events are pruned", 1);
        let Some(debit) = debits.of(user_id) else {
            sums.before += i128::from(*balance);
            return;
        };
        // What it was charged with is pruned, what was paid from it since then is not.
        findings.checked();
        of_others(debit, user_id, findings);
        sums.before += i128::from(debit.before_minor_units);
        let due = i128::from(debit.before_minor_units) - debit.minor_units;
        if i128::from(*balance) != due || debit.currency.as_str() != currency {
            let detail = format!("{balance} {currency} in it; what was there less what was paid is {due}");
            findings.violated("BALANCE_DIFFERS", user_id, detail);
        }
        return;
    }
    findings.checked();
    findings.violated("BALANCE_DIFFERS", user_id, format!("{balance} {currency} in it, and no event says how"));
}

/// What was in a wallet before an event: what it says was there afterwards, less what it moved.
fn balance_before(event: &Event) -> anyhow::Result<Money> {
    let (wallet, amount, sign) = if event.event_type == event_types::WALLET_DEBITED {
        let debited: WalletDebited = event.decode()?;
        (debited.wallet, debited.amount, -1)
    } else {
        let charged: WalletCharged = event.decode()?;
        (charged.wallet, charged.amount, 1)
    };
    let (after, amount) = (money(wallet.unwrap_or_default().balance.as_ref())?, money(amount.as_ref())?);
    Ok(Money::new(after.minor_units() - sign * amount.minor_units(), after.currency()))
}

/// What an event moves into a wallet (+1) or out of it (−1).
fn movement(
    event: &Event,
    movements: &mut Movements,
    sums: &mut BTreeMap<String, Sums>,
) -> anyhow::Result<(Money, i64)> {
    if event.event_type == event_types::WALLET_DEBITED {
        let debited: WalletDebited = event.decode()?;
        let amount = money(debited.amount.as_ref())?;
        movements.debits.left(order(&debited.order_id), content(amount));
        return Ok((amount, -1));
    }
    let charged: WalletCharged = event.decode()?;
    let amount = money(charged.amount.as_ref())?;
    if charged.cause() == WalletChargeCause::Refund {
        movements.refunds.left(order(&charged.order_id), content(amount));
    } else {
        sums.entry(amount.currency().as_str().to_owned()).or_default().charged += i128::from(amount.minor_units());
    }
    Ok((amount, 1))
}

async fn payments(
    snapshot: &mut Snapshot,
    movements: &mut Movements,
    sums: &mut BTreeMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut log = Log::read(snapshot, topics::PAYMENT_TRANSACTION).await?;
    while let Some(first) = log.next(snapshot).await? {
        findings.checked();
        findings.count("payments", 1);
        let order_id = first.aggregate_id.clone();
        // Of a payment whose first events are pruned: the first that gave the money back, or a later one that said so again.
        let is_repeated = first.version > 2 && first.event_type == event_types::PAYMENT_REFUNDED;
        let (mut completed, mut is_refunded) = (0, is_repeated);
        let mut next = Some(first);
        while let Some(event) = next {
            match event.event_type.as_str() {
                event_types::PAYMENT_COMPLETED => {
                    completed += 1;
                    let message: PaymentCompleted = event.decode()?;
                    let amount = money(message.amount.as_ref())?;
                    // One that tells of the wallet is the debit itself; the others have an event of the wallet each.
                    if message.wallet_version == 0 {
                        movements.debits.right(order(&order_id), content(amount));
                    }
                    sums.entry(amount.currency().as_str().to_owned()).or_default().paid +=
                        i128::from(amount.minor_units());
                }
                // Asked for again, a refund is answered again: it is one all the same.
                event_types::PAYMENT_REFUNDED if !is_refunded => {
                    is_refunded = true;
                    let amount = money(event.decode::<PaymentRefunded>()?.amount.as_ref())?;
                    movements.refunds.right(order(&order_id), content(amount));
                    sums.entry(amount.currency().as_str().to_owned()).or_default().refunded +=
                        i128::from(amount.minor_units());
                }
                _ => {}
            }
            next = log.next_of(snapshot, &order_id).await?;
        }
        if completed > 1 {
            findings.violated("CHARGED_TWICE", &order_id, format!("{completed} completed payments"));
        }
    }
    Ok(())
}

fn content(amount: Money) -> (i64, String) {
    (amount.minor_units(), amount.currency().as_str().to_owned())
}

/// The key of an order; what is no order's id stands for itself as nothing.
fn order(order_id: &str) -> u128 {
    Uuid::try_parse(order_id).map(|id| id.as_u128()).unwrap_or_default()
}
