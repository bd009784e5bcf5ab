//! The figures: what each is the quotient of, what it should be, and which measurements it needs.

use crate::args::Args;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown only.
    None,
}

/// Something that is measured for one or several figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Reference,
    Maximum,
    Traced,
    Untraced,
    Single,
    Floor,
    Calm,
    Hot,
    Reads,
    Accepting,
    Recovery,
    Memory,
    Start,
    Stored,
    Builds,
    Parallel,
    Overload,
    Fairness,
}

/// A figure.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Name of its samples.
    pub(crate) numerator: &'static str,
    /// Name of the samples that it is measured against; none for a figure with a unit of its own.
    pub(crate) denominator: Option<&'static str>,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    pub(crate) parts: &'static [Part],
    /// Whether the two-minute form has it.
    pub(crate) short: bool,
}

macro_rules! row {
    ($id:literal, $title:literal, $above:literal / $below:literal, $goal:expr, [$($part:ident),*] $(, $short:ident)?) => {
        Row { id: $id, title: $title, numerator: $above, denominator: Some($below), unit: "", goal: $goal,
              parts: &[$(Part::$part),*], short: row!(@ $($short)?) }
    };
    ($id:literal, $title:literal, $name:literal in $unit:literal, $goal:expr, [$($part:ident),*] $(, $short:ident)?) => {
        Row { id: $id, title: $title, numerator: $name, denominator: None, unit: $unit, goal: $goal,
              parts: &[$(Part::$part),*], short: row!(@ $($short)?) }
    };
    (@ short) => { true };
    (@) => { false };
}

use Goal::{AtLeast, AtMost, None as Shown};

/// All figures, in the order in which they are shown.
pub(crate) const ROWS: &[Row] = &[
    row!(
        "1",
        "CreateOrder/s, only accepting ÷ T",
        "accepting.per_second" / "reference.per_second",
        AtLeast(5.0),
        [Reference, Accepting]
    ),
    row!(
        "2",
        "completed orders/s ÷ T",
        "maximum.per_second" / "reference.per_second",
        AtLeast(2.0),
        [Reference, Maximum],
        short
    ),
    row!(
        "2b",
        "completed orders/s, each traced ÷ T",
        "traced.per_second" / "reference.per_second",
        AtLeast(1.5),
        [Reference, Traced]
    ),
    row!(
        "3",
        "completed orders/s ÷ B (no batches)",
        "maximum.per_second" / "single.per_second",
        AtLeast(15.0),
        [Maximum, Single]
    ),
    row!(
        "4",
        "completed orders/s ÷ L (least CPU)",
        "maximum.per_second" / "floor.per_second",
        AtLeast(0.65),
        [Maximum, Floor]
    ),
    row!(
        "5a",
        "CPU an order at the maximum ÷ CPU of T's transaction",
        "maximum.cpu_us" / "reference.cpu_us",
        AtMost(0.55),
        [Reference, Maximum],
        short
    ),
    row!(
        "5b",
        "CPU an order at 35 % ÷ CPU of T's transaction",
        "calm.cpu_us" / "reference.cpu_us",
        AtMost(1.0),
        [Reference, Maximum, Calm]
    ),
    row!(
        "6",
        "p99 creation to completion at 35 % ÷ T's p99",
        "calm.p99_ms" / "reference.p99_ms",
        AtMost(4.0),
        [Reference, Maximum, Calm]
    ),
    row!(
        "7",
        "completed orders/s, one SKU ÷ 10,000 SKUs",
        "hot.per_second" / "spread.per_second",
        AtLeast(0.8),
        [Hot],
        short
    ),
    row!(
        "8",
        "GetOrder/s ÷ pgbench's select of the same row",
        "reads.per_second" / "selects.per_second",
        AtLeast(1.0),
        [Maximum, Reads]
    ),
    row!(
        "9",
        "CPU of CreateOrder with orders stored ÷ with none",
        "stored.cpu_us" / "empty.cpu_us",
        AtMost(1.3),
        [Stored]
    ),
    row!(
        "10",
        "completed orders/s, default sampling ÷ no tracing",
        "maximum.per_second" / "untraced.per_second",
        AtLeast(0.95),
        [Maximum, Untraced],
        short
    ),
    row!(
        "11",
        "backlog drained, orders/s ÷ the maximum",
        "recovery.per_second" / "maximum.per_second",
        AtLeast(0.8),
        [Maximum, Accepting, Recovery]
    ),
    row!("12", "resident memory of the largest role", "memory.largest_mib" in "MiB", AtMost(64.0), [Memory]),
    row!(
        "13",
        "parallel consumer: 10,000 messages of 0 to 5 ms ÷ one after the other",
        "parallel.seconds" / "parallel.serial_seconds",
        AtMost(0.08),
        [Parallel]
    ),
    row!("14", "start of all roles to ready", "start.seconds" in "s", AtMost(1.0), [Start], short),
    row!("15", "build after a change in one service", "build.incremental_seconds" in "s", Shown, [Builds]),
    row!("15b", "CPU of a build from nothing", "build.clean_cpu_seconds" in "s", Shown, [Builds]),
    row!(
        "16",
        "offered twice the maximum: completed orders/s ÷ the maximum",
        "overload.per_second" / "maximum.per_second",
        AtLeast(0.9),
        [Maximum, Overload]
    ),
    row!(
        "16b",
        "offered twice the maximum: p99 of CreateOrder ÷ at 70 %",
        "overload.call_p99_ms" / "busy.call_p99_ms",
        AtMost(3.0),
        [Maximum, Overload]
    ),
    row!("16c", "offered twice the maximum: share shed", "overload.shed_percent" in "%", Shown, [Maximum, Overload]),
    row!(
        "17",
        "p99 of a caller beside one of 100 times the rate ÷ alone",
        "fairness.beside_p99_ms" / "fairness.alone_p99_ms",
        AtMost(2.0),
        [Maximum, Fairness]
    ),
];

/// The rows that were asked for; `5` means 5a and 5b.
pub(crate) fn selected(args: &Args) -> Vec<&'static Row> {
    let of = |row: &Row, id: &String| {
        row.id == id
            || (row.id.strip_prefix(id.as_str())).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_lowercase()))
    };
    let asked = |row: &&Row| match (args.rows.is_empty(), args.short) {
        (false, _) => args.rows.iter().any(|id| of(row, id)),
        (true, short) => !short || row.short,
    };
    ROWS.iter().filter(asked).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    fn ids(arguments: &[&str]) -> Vec<&'static str> {
        let args = Args::parse_from([&["openorder-bench"], arguments].concat());
        selected(&args).iter().map(|row| row.id).collect()
    }

    #[test]
    fn a_number_stands_for_its_parts_and_for_no_other_number() {
        assert_eq!(ids(&["--rows", "5,2b"]), ["2b", "5a", "5b"]);
        assert_eq!(ids(&["--rows", "1"]), ["1"]);
        assert_eq!(ids(&["--short"]), ["2", "5a", "7", "10", "14"]);
        assert_eq!(ids(&[]).len(), ROWS.len());
    }

    #[test]
    fn every_figure_has_an_id_of_its_own() {
        let ids: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), ROWS.len());
    }
}
