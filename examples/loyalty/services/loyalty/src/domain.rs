//! Points are earned by paid orders, and nobody spends what is not there.

use openorder_types::{Rejection, UserId};

#[derive(Clone, Debug)]
pub enum Command {
    Earn { customer_id: UserId, points: i64 },
    Spend { customer_id: UserId, points: i64 },
}

impl Command {
    pub fn customer_id(&self) -> &UserId {
        match self {
            Self::Earn { customer_id, .. } | Self::Spend { customer_id, .. } => customer_id,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub points: i64,
    pub version: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub struct PointsChanged(pub i64);

pub fn decide(account: &Account, command: &Command) -> Result<Option<PointsChanged>, Rejection> {
    match command {
        Command::Earn { points, .. } => Ok(Some(*points).filter(|points| *points > 0).map(PointsChanged)),
        Command::Spend { points, .. } if *points <= account.points => Ok(Some(PointsChanged(-points))),
        Command::Spend { points, .. } => {
            let text = format!("there are {} points, fewer than {points}", account.points);
            Err(Rejection::failed_precondition("POINTS_TOO_FEW", text))
        }
    }
}

pub fn evolve(account: &mut Account, event: &PointsChanged) {
    account.points = account.points.saturating_add(event.0);
    account.version += 1;
}
