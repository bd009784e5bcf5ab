//! The figures: what each is the quotient of, what it should be, and which measurements it needs.

use crate::args::Args;
use crate::samples::Samples;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown only.
    None,
}

/// Something that is measured for one or several figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Maximum,
    /// All roles.
    Shop,
    Traced,
    Untraced,
    Single,
    Floor,
    /// A tenth of T offered.
    Tenth,
    /// Three tenths of T offered.
    ThreeTenths,
    Hot,
    /// Four callers.
    Few,
    /// One order at a time, on a system at rest.
    Lone,
    Reads,
    /// Over TLS, with a token.
    Signed,
    /// In JSON.
    Protocols,
    Accepting,
    Recovery,
    Memory,
    Start,
    Stored,
    Builds,
    Parallel,
    Overload,
    Fairness,
    Sustained,
}

impl Part {
    /// What the samples of T around it are called; none for a part that no row sets against T.
    pub(crate) fn reference(self) -> Option<&'static str> {
        match self {
            Self::Accepting => Some("accepting"),
            Self::Maximum => Some("maximum"),
            Self::Traced => Some("traced"),
            Self::Tenth => Some("tenth"),
            Self::ThreeTenths => Some("three_tenths"),
            Self::Sustained => Some("sustained"),
            _ => None,
        }
    }

    /// Whether its rate is a share of T.
    fn is_offered_by_t(self) -> bool {
        matches!(self, Self::Tenth | Self::ThreeTenths | Self::Sustained)
    }
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

impl Row {
    /// Whether it needs T around that part.
    pub(crate) fn is_against_t(&self, part: Part) -> bool {
        let is_below =
            |name: &str| self.denominator.is_some_and(|below| below.starts_with(&format!("{name}.reference_")));
        self.parts.contains(&part) && (part.is_offered_by_t() || part.reference().is_some_and(is_below))
    }

    /// The figure of each round.
    pub(crate) fn values(&self, samples: &Samples) -> Vec<f64> {
        match self.denominator {
            Some(denominator) => samples.quotients(self.numerator, denominator),
            Option::None => samples.of(self.numerator).to_vec(),
        }
    }
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
        "accepting.per_second" / "accepting.reference_per_second",
        AtLeast(5.0),
        [Accepting]
    ),
    row!(
        "2",
        "completed orders/s ÷ T",
        "maximum.per_second" / "maximum.reference_per_second",
        AtLeast(2.0),
        [Maximum],
        short
    ),
    row!(
        "2b",
        "completed orders/s, each traced ÷ T",
        "traced.per_second" / "traced.reference_per_second",
        AtLeast(1.5),
        [Traced]
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
        "maximum.cpu_us" / "maximum.reference_cpu_us",
        AtMost(0.55),
        [Maximum],
        short
    ),
    row!(
        "5b",
        "CPU an order at 0.3 T offered ÷ CPU of T's transaction",
        "three_tenths.cpu_us" / "three_tenths.reference_cpu_us",
        AtMost(1.2),
        [ThreeTenths]
    ),
    row!(
        "5c",
        "CPU an order at 0.1 T offered ÷ CPU of T's transaction",
        "tenth.cpu_us" / "tenth.reference_cpu_us",
        Shown,
        [Tenth]
    ),
    row!("6", "p99 creation to completion at 0.3 T", "three_tenths.p99_ms" in "ms", AtMost(250.0), [ThreeTenths]),
    row!("6b", "p99 creation to completion at 0.1 T", "tenth.p99_ms" in "ms", Shown, [Tenth]),
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
        [Reads]
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
    row!(
        "18",
        "highest rate with p99 to completion ≤ 250 ms ÷ T",
        "sustained.per_second" / "sustained.reference_per_second",
        Shown,
        [Sustained]
    ),
    row!(
        "19",
        "whole shop: completed orders/s ÷ the core alone",
        "shop.per_second" / "maximum.per_second",
        Shown,
        [Maximum, Shop]
    ),
    row!("19b", "whole shop: CPU an order ÷ the core alone", "shop.cpu_us" / "maximum.cpu_us", Shown, [Maximum, Shop]),
    row!(
        "19c",
        "whole shop: CPU an order in the core's roles ÷ the core alone at the same rate",
        "shop.core_cpu_us" / "shop.alone_cpu_us",
        AtMost(1.25),
        [Shop]
    ),
    row!(
        "19d",
        "whole shop: CPU an order in the core's roles ÷ the core alone, each at its maximum",
        "shop.core_cpu_us" / "maximum.openorder_cpu_us",
        AtMost(1.25),
        [Maximum, Shop]
    ),
    row!(
        "20",
        "CreateOrder/s over TLS with an access token ÷ without both",
        "signed.token_per_second" / "signed.plain_per_second",
        AtLeast(0.8),
        [Signed]
    ),
    row!(
        "20b",
        "CreateOrder/s over TLS with an API key ÷ without both",
        "signed.key_per_second" / "signed.plain_per_second",
        AtLeast(0.8),
        [Signed]
    ),
    row!(
        "20c",
        "the same: OpenOrder's CPU an order, access token ÷ without",
        "signed.token_cpu_us" / "signed.plain_cpu_us",
        Shown,
        [Signed]
    ),
    row!(
        "21",
        "CreateOrder/s as JSON over REST ÷ as gRPC",
        "protocols.rest_per_second" / "protocols.grpc_per_second",
        Shown,
        [Protocols]
    ),
    row!("21b", "the same: gateway's CPU a call on top of gRPC's", "protocols.rest_more_us" in "µs", Shown, [Protocols]),
    row!(
        "21c",
        "CreateOrder/s as JSON over Connect ÷ as gRPC",
        "protocols.connect_per_second" / "protocols.grpc_per_second",
        Shown,
        [Protocols]
    ),
    row!("21d", "the same: gateway's CPU a call on top of gRPC's", "protocols.connect_more_us" in "µs", Shown, [Protocols]),
    row!(
        "22",
        "4 callers: CreateOrder/s ÷ T with 4 clients",
        "few.per_second" / "few.transactions_per_second",
        Shown,
        [Few]
    ),
    row!("22b", "the same: p50 of CreateOrder", "few.p50_ms" in "ms", Shown, [Few]),
    row!("22c", "the same: p99 of CreateOrder", "few.p99_ms" in "ms", Shown, [Few]),
    row!("23", "a lone order, creation to completion: p50", "lone.p50_ms" in "ms", AtMost(12.0), [Lone]),
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
    // What building costs does not depend on the program that is measured.
    ROWS.iter().filter(asked).filter(|row| !(args.is_pair() && row.parts.contains(&Part::Builds))).collect()
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
        assert_eq!(ids(&["--rows", "5,2b"]), ["2b", "5a", "5b", "5c"]);
        assert_eq!(ids(&["--rows", "1"]), ["1"]);
        assert_eq!(ids(&["--short"]), ["2", "5a", "7", "10", "14"]);
        assert_eq!(ids(&[]).len(), ROWS.len());
        assert!(!ids(&["--pair", "main"]).contains(&"15"));
    }

    #[test]
    fn a_row_against_t_names_the_slices_around_its_own_part() {
        for row in ROWS {
            let below = row.denominator.and_then(|name| name.split_once(".reference_")).map(|(part, _)| part);
            let of_parts = row.parts.iter().any(|part| part.reference() == below);
            assert!(below.is_none() || of_parts, "row {} is set against T around {below:?}", row.id);
        }
        let row = |id: &str| ROWS.iter().find(|row| row.id == id).unwrap();
        assert!(row("2").is_against_t(Part::Maximum));
        assert!(!row("3").is_against_t(Part::Maximum), "no slice of T for a row without T");
        assert!(row("6").is_against_t(Part::ThreeTenths), "its rate is a share of T");
    }

    #[test]
    fn every_figure_has_an_id_of_its_own() {
        let ids: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), ROWS.len());
    }
}
