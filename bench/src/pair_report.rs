//! What a pair of programs found out: each row and each sample under both, and their ratio round by round.

use std::path::Path;

use serde::Serialize;

use crate::bench::Bench;
use crate::machine::Machine;
use crate::pair::Base;
use crate::report::{failed, floor_lines, short};
use crate::rows::{Goal, Row};
use crate::samples::{Samples, Spread, ratios};

/// Two programs that are the same differ one way in as many rounds once in 16 times.
const VERDICT_ROUNDS_MIN: usize = 5;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct PairReport {
    date: String,
    machine: Machine,
    base: String,
    now: String,
    rounds: usize,
    seconds: u64,
    rows: Vec<Compared>,
    samples: Vec<Compared>,
    reference: Samples,
    /// What could not be measured, and why.
    failed: Vec<String>,
}

/// A row or a sample under both programs.
#[derive(Clone, Debug, Serialize)]
struct Compared {
    /// Of a row.
    id: &'static str,
    title: String,
    base: Vec<f64>,
    now: Vec<f64>,
    /// Now by base, round by round.
    ratios: Vec<f64>,
    /// Where it is known: whether more is better.
    higher_is_better: Option<bool>,
}

impl PairReport {
    pub(crate) fn of(bench: &mut Bench<'_>, machine: Machine, base: &Base, program: &Path) -> Self {
        bench.select("now");
        floor_lines(&mut bench.side.samples);
        if let Some(other) = &mut bench.other {
            floor_lines(&mut other.samples);
        }
        let nothing = Samples::default();
        let now = &bench.side.samples;
        let was = bench.other.as_ref().map_or(&nothing, |other| &other.samples);
        let names = was.all().map(|(name, _)| name).filter(|name| !now.of(name).is_empty());
        let sides = [Some(&bench.side), bench.other.as_ref()];
        Self {
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            base: base.description.clone(),
            now: format!("{} ({})", program.display(), machine.commit),
            machine,
            rounds: bench.args.rounds(),
            seconds: bench.args.window().as_secs(),
            rows: bench.rows.iter().map(|row| Compared::of_row(row, was, now)).collect(),
            samples: names.map(|name| Compared::of_sample(name, was, now)).collect(),
            reference: bench.reference.clone(),
            failed: sides.into_iter().flatten().flat_map(failed).collect(),
        }
    }

    /// Whether everything was measured under both programs.
    pub(crate) fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.rows.iter().all(|row| !row.ratios.is_empty())
    }

    /// For the console.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            format!("base: {}", self.base),
            format!("now:  {}", self.now),
            format!("{} rounds of {} s; medians, and of the ratio the smallest and largest", self.rounds, self.seconds),
            String::new(),
            format!("{:>4}  {:<60} {:>8} {:>8} {:>9}  min–max", "", "row", "base", "now", "now/base"),
        ];
        lines.extend(self.rows.iter().map(Compared::line));
        lines.push(String::new());
        lines.push(format!("{:>4}  {:<60} {:>8} {:>8} {:>9}  min–max", "", "sample", "base", "now", "now/base"));
        lines.extend(self.samples.iter().map(Compared::line));
        lines.push(String::new());
        for (name, values) in self.reference.all() {
            let values: Vec<String> = values.iter().map(|value| short(*value)).collect();
            lines.push(format!("{name}: {}", values.join(", ")));
        }
        lines.extend(self.failed.iter().map(|failed| format!("FAILED  {failed}")));
        lines
    }
}

impl Compared {
    fn of_row(row: &Row, base: &Samples, now: &Samples) -> Self {
        let higher_is_better = match row.goal {
            Goal::AtLeast(_) => Some(true),
            Goal::AtMost(_) => Some(false),
            Goal::None => None,
        };
        let title = if row.unit.is_empty() { row.title.to_owned() } else { format!("{}, {}", row.title, row.unit) };
        Self::of(row.id, title, row.values(base), row.values(now), higher_is_better)
    }

    fn of_sample(name: &str, base: &Samples, now: &Samples) -> Self {
        Self::of("", name.to_owned(), base.of(name).to_vec(), now.of(name).to_vec(), None)
    }

    fn of(id: &'static str, title: String, base: Vec<f64>, now: Vec<f64>, higher_is_better: Option<bool>) -> Self {
        let ratios = ratios(&now, &base);
        Self { id, title, base, now, ratios, higher_is_better }
    }

    fn line(&self) -> String {
        let middle = |values: &[f64]| Spread::of(values).map_or("–".to_owned(), |spread| short(spread.median));
        let (base, now) = (middle(&self.base), middle(&self.now));
        let Some(ratio) = Spread::of(&self.ratios) else {
            return format!("{:>4}  {:<60} {base:>8} {now:>8} {:>9}", self.id, self.title, "–");
        };
        let Spread { median, min, max } = ratio;
        let verdict = self.higher_is_better.map_or("", |higher| verdict(ratio, self.ratios.len(), higher));
        format!("{:>4}  {:<60} {base:>8} {now:>8} {median:>9.3}  {min:.3}–{max:.3}{verdict}", self.id, self.title)
    }
}

/// Nothing is said of what one round has the other way round, nor of so few rounds that chance would often have it so.
fn verdict(ratio: Spread, rounds: usize, higher_is_better: bool) -> &'static str {
    if rounds < VERDICT_ROUNDS_MIN {
        return "";
    }
    match (ratio.min > 1.0, ratio.max < 1.0) {
        (true, _) if higher_is_better => "  better in every round",
        (_, true) if !higher_is_better => "  better in every round",
        (true, _) | (_, true) => "  worse in every round",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(name: &str, values: &[f64]) -> Samples {
        let mut samples = Samples::default();
        values.iter().for_each(|value| samples.push(name, *value));
        samples
    }

    #[test]
    fn a_line_has_both_medians_and_the_spread_of_the_ratio() {
        let (base, now) = (samples("a.per_second", &[100.0, 200.0]), samples("a.per_second", &[110.0, 210.0]));
        let line = Compared::of_sample("a.per_second", &base, &now).line();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["a.per_second", "150", "160", "1.075", "1.050–1.100"]);
        let missing = Compared::of_sample("a.per_second", &base, &Samples::default()).line();
        assert_eq!(missing.split_whitespace().collect::<Vec<_>>(), ["a.per_second", "150", "–", "–"]);
    }

    #[test]
    fn only_what_every_round_says_is_called_better_or_worse() {
        let spread = |min, max| Spread { median: 1.0, min, max };
        assert_eq!(verdict(spread(1.01, 1.2), 5, true), "  better in every round");
        assert_eq!(verdict(spread(1.01, 1.2), 5, false), "  worse in every round");
        assert_eq!(verdict(spread(0.8, 0.9), 6, false), "  better in every round");
        assert_eq!(verdict(spread(0.8, 0.9), 6, true), "  worse in every round");
        assert_eq!(verdict(spread(0.9, 1.1), 6, true), "", "one round has it the other way round");
        assert_eq!(verdict(spread(1.01, 1.2), 4, true), "", "chance would have it so once in eight times");
    }
}
