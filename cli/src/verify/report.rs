//! What was found, and how it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::floor::Floor;
use super::next::next;
use super::services::Service;
use crate::output::{columns, note};

/// How often the progress of long work is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// What has to hold, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Invariant {
    /// Every accepted order reaches a final status, and a request id makes one order.
    Orders,
    /// Stock adds up.
    Stock,
    /// Money adds up.
    Money,
    /// Versions rise by one, in the logs and in the topics.
    Versions,
    /// State is the fold of its events.
    State,
    /// The services say the same.
    Agreement,
    /// What analytics has counted is what the orders come to.
    Sales,
    /// Checkouts of carts agree with orders.
    Checkouts,
}

impl Invariant {
    pub(super) const ALL: &[Self] = &[
        Self::Orders,
        Self::Stock,
        Self::Money,
        Self::Versions,
        Self::State,
        Self::Agreement,
        Self::Sales,
        Self::Checkouts,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Stock => "stock",
            Self::Money => "money",
            Self::Versions => "versions",
            Self::State => "state",
            Self::Agreement => "agreement",
            Self::Sales => "sales",
            Self::Checkouts => "checkouts",
        }
    }
}

/// What came of one invariant, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Holds,
    Unknown,
    Violated,
}

impl Outcome {
    const fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Unknown => "UNKNOWN",
            Self::Violated => "VIOLATED",
        }
    }
}

/// One offence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Violation {
    /// Stable, `UPPER_SNAKE`.
    pub(super) reason: &'static str,
    /// Of the order, SKU, user, event or aggregate.
    pub(super) id: String,
    pub(super) detail: String,
}

/// What one invariant's check finds on its way.
pub(super) struct Findings {
    invariant: Invariant,
    checked: u64,
    in_flight: u64,
    violations: u64,
    shown: Vec<Violation>,
    show_max: usize,
    counts: BTreeMap<String, i128>,
    notes: BTreeSet<String>,
    reported_at: Instant,
}

impl Findings {
    pub(super) fn new(invariant: Invariant, show_max: usize) -> Self {
        Self {
            invariant,
            checked: 0,
            in_flight: 0,
            violations: 0,
            shown: Vec::new(),
            show_max,
            counts: BTreeMap::new(),
            notes: BTreeSet::new(),
            reported_at: Instant::now(),
        }
    }

    /// For a second look at the same: nothing of it is told.
    pub(super) fn quiet(of: &Self) -> Self {
        Self::new(of.invariant, 0)
    }

    /// For work that may have to begin again: what it finds counts once it is absorbed.
    pub(super) fn like(other: &Self) -> Self {
        Self::new(other.invariant, other.show_max)
    }

    pub(super) fn absorb(&mut self, part: Self) {
        self.checked += part.checked;
        self.in_flight += part.in_flight;
        self.violations += part.violations;
        let room = self.show_max - self.shown.len();
        self.shown.extend(part.shown.into_iter().take(room));
        for (name, amount) in part.counts {
            self.count(&name, amount);
        }
        self.notes.extend(part.notes);
    }

    /// Something was judged.
    pub(super) fn checked(&mut self) {
        self.checked += 1;
        if self.checked.is_multiple_of(4_096) && self.reported_at.elapsed() >= PROGRESS_INTERVAL {
            self.reported_at = Instant::now();
            note(format_args!("verify: {}: {} checked …", self.invariant.name(), grouped(self.checked.into())));
        }
    }

    /// Something is not judged yet.
    pub(super) fn in_flight(&mut self) {
        self.in_flight += 1;
    }

    /// Adds to a number that is told beside the outcome.
    pub(super) fn count(&mut self, name: &str, amount: i128) {
        match self.counts.get_mut(name) {
            Some(count) => *count += amount,
            None => drop(self.counts.insert(name.to_owned(), amount)),
        }
    }

    /// Tells of the service's log what is no longer there to be judged.
    pub(super) fn note_floor(&mut self, service: Service, floor: &Floor) {
        self.notes.extend(floor.text().map(|text| format!("log of {service}: {text}")));
    }

    pub(super) fn violated(&mut self, reason: &'static str, id: impl ToString, detail: impl ToString) {
        self.violations += 1;
        if self.shown.len() < self.show_max {
            self.shown.push(Violation { reason, id: id.to_string(), detail: detail.to_string() });
        }
    }
}

/// What became of an invariant.
#[derive(Debug, Serialize)]
struct Finding {
    invariant: Invariant,
    outcome: Outcome,
    checked: u64,
    in_flight: u64,
    violations: u64,
    counts: BTreeMap<String, i128>,
    /// What is no longer there to be judged.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    notes: BTreeSet<String>,
    /// The first of them.
    found: Vec<Violation>,
    /// What to look at, for each of their reasons.
    next: BTreeMap<&'static str, &'static str>,
    /// Why it could not be checked to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    seconds: f64,
}

/// What became of all that were asked for.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    outcome: Outcome,
    settle_ms: u128,
    invariants: Vec<Finding>,
    #[serde(skip)]
    begun: Option<Instant>,
}

impl Report {
    pub(super) fn new(settle: Duration) -> Self {
        let begun = Some(Instant::now());
        Self { outcome: Outcome::Holds, settle_ms: settle.as_millis(), invariants: Vec::new(), begun }
    }

    pub(super) fn add(&mut self, findings: Findings, error: Option<String>) {
        let outcome = match (findings.violations, &error) {
            (0, None) => Outcome::Holds,
            (0, Some(_)) => Outcome::Unknown,
            _ => Outcome::Violated,
        };
        self.outcome = self.outcome.max(outcome);
        let seconds = self.begun.replace(Instant::now()).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let reasons = findings.shown.iter().map(|violation| violation.reason);
        let next = reasons.map(|reason| (reason, next(findings.invariant, reason))).collect();
        self.invariants.push(Finding {
            invariant: findings.invariant,
            outcome,
            checked: findings.checked,
            in_flight: findings.in_flight,
            violations: findings.violations,
            counts: findings.counts,
            notes: findings.notes,
            found: findings.shown,
            next,
            error,
            seconds: (seconds * 1_000.0).round() / 1_000.0,
        });
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The invariants that could not be checked, for the last line.
    pub(super) fn unchecked(&self) -> String {
        let unchecked = self.invariants.iter().filter(|finding| finding.error.is_some());
        unchecked.map(|finding| finding.invariant.name()).collect::<Vec<_>>().join(", ")
    }

    /// A line an invariant, each followed by what was found.
    pub(super) fn lines(&self) -> Vec<String> {
        let cells = self.invariants.iter().map(|finding| {
            let counts = finding.counts.iter().map(|(name, count)| format!("{} {name}", grouped(*count)));
            vec![
                finding.invariant.name().to_owned(),
                finding.outcome.text().to_owned(),
                format!("checked {}", grouped(finding.checked.into())),
                format!("in flight {}", grouped(finding.in_flight.into())),
                format!("violations {}", grouped(finding.violations.into())),
                format!("{:.1} s", finding.seconds),
                counts.collect::<Vec<_>>().join(", "),
            ]
        });
        let heads = columns(&cells.collect::<Vec<_>>());
        let mut lines = Vec::new();
        for (head, finding) in heads.into_iter().zip(&self.invariants) {
            lines.push(head);
            lines.extend(finding.notes.iter().map(|note| format!("  {note}")));
            let found =
                finding.found.iter().map(|one| vec![format!("  {}", one.reason), one.id.clone(), one.detail.clone()]);
            lines.extend(columns(&found.collect::<Vec<_>>()));
            let hidden = finding.violations - finding.found.len() as u64;
            if hidden > 0 {
                lines.push(format!("  … and {} more", grouped(hidden.into())));
            }
            lines.extend(finding.next.iter().map(|(reason, next)| format!("  next for {reason}: {next}")));
            lines.extend(finding.error.iter().map(|error| format!("  {error}")));
        }
        lines
    }
}

/// Thousands apart.
fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(parts: &[(Invariant, u64, Option<&str>)]) -> Report {
        let mut report = Report::new(Duration::from_secs(1));
        for (invariant, violations, error) in parts {
            let mut findings = Findings::new(*invariant, 2);
            (0..*violations).for_each(|number| findings.violated("WRONG", number, "so"));
            report.add(findings, error.map(ToOwned::to_owned));
        }
        report
    }

    #[test]
    fn a_violation_outweighs_what_could_not_be_checked() {
        use Invariant::{Money, Orders, Stock};
        assert_eq!(report(&[(Orders, 0, None), (Stock, 0, None)]).outcome(), Outcome::Holds);
        let unknown = report(&[(Orders, 0, None), (Stock, 0, Some("no database"))]);
        assert_eq!((unknown.outcome(), unknown.unchecked().as_str()), (Outcome::Unknown, "stock"));
        assert_eq!(report(&[(Money, 1, None), (Stock, 0, Some("no database"))]).outcome(), Outcome::Violated);
    }

    #[test]
    fn all_violations_are_counted_and_the_first_are_shown() {
        let lines = report(&[(Invariant::Stock, 5, None)]).lines();
        assert!(lines[0].starts_with("stock  VIOLATED  checked 0  in flight 0  violations 5"), "{}", lines[0]);
        assert_eq!(lines[1..4], ["  WRONG  0  so", "  WRONG  1  so", "  … and 3 more"]);
        assert!(lines[4].starts_with("  next for WRONG: ListReservationMismatches"), "{}", lines[4]);
        assert_eq!(lines.len(), 5, "a reason is explained once");
    }

    #[test]
    fn every_violation_has_a_next_step_that_can_be_taken() {
        for invariant in Invariant::ALL {
            assert!(next(*invariant, "NEW").len() > 20);
        }
        assert!(next(Invariant::Orders, "DEAD_LETTERED").contains("openorder dlq list"));
    }

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1_000, -1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "-1,234,567"]);
    }
}
