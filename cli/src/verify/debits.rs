//! What payments took out of wallets, as their own events tell it: a wallet's events are in two topics.

use std::collections::HashMap;

use openorder_proto::payment::v1::PaymentCompleted;
use openorder_proto::{event_types, topics};
use openorder_types::Currency;

use super::aggregates::{Kind, Slice, key_of};
use super::database::Snapshot;
use super::log::{Log, money};
use super::services::Service;

/// Payments from wallets, of a part of all wallets.
pub(super) struct Debits {
    pub(super) slice: Slice,
    by_wallet: HashMap<u128, Debit>,
}

/// What the payments that a log keeps took out of one wallet.
#[derive(Clone, Debug)]
pub(super) struct Debit {
    pub(super) currency: Currency,
    pub(super) minor_units: i128,
    /// Those of the wallet that these payments made.
    pub(super) versions: Versions,
    /// What was in it before the first of them.
    pub(super) before_minor_units: i64,
    /// Payments in another currency than the first one's.
    pub(super) of_others: u64,
}

impl Debits {
    /// Those of the wallets of a slice; a first slice of more wallets than may be kept in memory is halved until it has
    /// room. Read again from [`Slice::next`] on, they are all.
    pub(super) async fn read(snapshot: &mut Snapshot, mut slice: Slice, wallets_max: usize) -> anyhow::Result<Self> {
        loop {
            // Slices are of one size, more or less: where the first one has room the others have.
            let bound = if slice.number == 0 { wallets_max } else { usize::MAX };
            if let Some(by_wallet) = read_slice(snapshot, slice, bound).await? {
                return Ok(Self { slice, by_wallet });
            }
            slice.of *= 2;
        }
    }

    /// Whether this wallet is of the slice.
    pub(super) fn covers(&self, user_id: &str) -> bool {
        self.slice.holds(key(user_id))
    }

    pub(super) fn of(&self, user_id: &str) -> Option<&Debit> {
        self.by_wallet.get(&key(user_id))
    }
}

async fn read_slice(
    snapshot: &mut Snapshot,
    slice: Slice,
    wallets_max: usize,
) -> anyhow::Result<Option<HashMap<u128, Debit>>> {
    let mut log = Log::read(snapshot, topics::PAYMENT_TRANSACTION).await?.only(&[event_types::PAYMENT_COMPLETED]);
    let mut by_wallet = HashMap::new();
    while let Some(event) = log.next(snapshot).await? {
        let completed: PaymentCompleted = event.decode()?;
        let key = key(&completed.user_id);
        // Without a version of the wallet it is of before, and the wallet has an event of its own.
        if completed.wallet_version == 0 || !slice.holds(key) {
            continue;
        }
        let (amount, balance) = (money(completed.amount.as_ref())?, money(completed.wallet_balance.as_ref())?);
        let debit = by_wallet.entry(key).or_insert_with(|| Debit {
            currency: amount.currency(),
            minor_units: 0,
            versions: Versions::default(),
            before_minor_units: 0,
            of_others: 0,
        });
        // Payments come in the order of their orders, not of the wallet's versions.
        if debit.versions.lowest().is_none_or(|lowest| completed.wallet_version < lowest) {
            debit.before_minor_units = balance.minor_units().saturating_add(amount.minor_units());
        }
        debit.versions.note(completed.wallet_version);
        debit.minor_units += i128::from(amount.minor_units());
        debit.of_others += u64::from(amount.currency() != debit.currency);
        if by_wallet.len() > wallets_max {
            return Ok(None);
        }
    }
    Ok(Some(by_wallet))
}

fn key(user_id: &str) -> u128 {
    key_of(Service::Payment.name(), (Kind::Wallet, user_id))
}

/// A set of versions, as far as it is needed to tell whether it has each one between its ends once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Versions {
    ends: Option<(i64, i64)>,
    count: i64,
    digest: u64,
}

impl Versions {
    pub(super) fn note(&mut self, version: i64) {
        self.merge(&Self { ends: Some((version, version)), count: 1, digest: mixed(version) });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.ends = match (self.ends, other.ends) {
            (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
            (ends, None) | (None, ends) => ends,
        };
        self.count += other.count;
        self.digest = self.digest.wrapping_add(other.digest);
    }

    pub(super) fn lowest(&self) -> Option<i64> {
        self.ends.map(|(lowest, _)| lowest)
    }

    /// 0 where there is none.
    pub(super) fn highest(&self) -> i64 {
        self.ends.map_or(0, |(_, highest)| highest)
    }

    /// Whether each version between the ends is there once.
    pub(super) fn are_gapless(&self) -> bool {
        let Some((lowest, highest)) = self.ends else { return true };
        let expected = || (lowest..=highest).fold(0_u64, |sum, version| sum.wrapping_add(mixed(version)));
        highest - lowest + 1 == self.count && expected() == self.digest
    }
}

/// Bits of a version such that sums of different sets differ (splitmix64).
fn mixed(version: i64) -> u64 {
    let mut bits = version.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(versions: &[i64]) -> Versions {
        let mut all = Versions::default();
        versions.iter().for_each(|version| all.note(*version));
        all
    }

    #[test]
    fn versions_of_two_topics_are_gapless_together_or_not() {
        let mut charged = of(&[1, 4, 5]);
        assert!(!charged.are_gapless());
        charged.merge(&of(&[3, 2]));
        assert!(charged.are_gapless());
        assert_eq!((charged.lowest(), charged.highest()), (Some(1), 5));
        assert!(of(&[]).are_gapless() && of(&[7]).are_gapless() && of(&[8, 7]).are_gapless());
        // So many as between the ends, but not each once; and with the same sum.
        for wrong in [&[1, 1, 3][..], &[1, 3, 3, 4], &[2, 3, 3, 4, 6, 6, 7], &[1, 2, 4], &[1, 2, 2, 3]] {
            assert!(!of(wrong).are_gapless(), "{wrong:?}");
        }
    }
}
