//! What a run found out: for the console, for readers of `docs/BENCHMARKS.md`, for programs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Side};
use crate::floor::STEPS;
use crate::machine::Machine;
use crate::measurements::reference;
use crate::output::say;
use crate::rows::{Goal, ROWS, Row};
use crate::samples::{Samples, Spread};

/// What stands before the record in the document.
const RECORD: &str = "<!-- record: `openorder-bench --check` reads what follows -->\n```json\n";
/// A ratio may be worse than the recorded one by this much.
const TOLERANCE: f64 = 0.7;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    date: String,
    machine: Machine,
    rounds: usize,
    seconds: u64,
    reference_seconds: u64,
    figures: Vec<Figure>,
    floor: Vec<String>,
    samples: Samples,
    /// What could not be measured, in words.
    failed: Vec<String>,
}

/// A row with its value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    id: &'static str,
    title: &'static str,
    goal: String,
    unit: &'static str,
    /// None when it was not measured.
    value: Option<Spread>,
    met: Option<bool>,
    note: String,
}

/// What is kept of a run for later ones.
#[derive(Debug, Deserialize, Serialize)]
struct Recorded {
    id: String,
    /// Another title is another figure; older records have none.
    title: Option<String>,
    ratio: f64,
    higher_is_better: bool,
}

impl Report {
    pub(crate) fn of(bench: &mut Bench<'_>, machine: Machine) -> Self {
        let floor = floor_lines(&mut bench.side.samples);
        let figures = bench.rows.iter().map(|row| figure(&bench.side, row)).collect();
        let mut samples = bench.side.samples.clone();
        samples.extend(&bench.reference);
        Self {
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            machine,
            rounds: bench.args.rounds(),
            seconds: bench.args.window().as_secs(),
            reference_seconds: bench.args.reference_window().as_secs(),
            figures,
            floor,
            samples,
            failed: failed(&bench.side),
        }
    }

    /// Whether everything that was asked for was measured in every round.
    pub(crate) fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }

    /// The table for the console.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for figure in &self.figures {
            let note = if figure.note.is_empty() { String::new() } else { format!("  ({})", figure.note) };
            lines.push(format!(
                "{} {:>3}  {:<60} {:>8}  {:<17} {:>8}{note}",
                figure.mark(),
                figure.id,
                figure.title,
                figure.value_text(),
                figure.spread_text(),
                figure.goal,
            ));
        }
        lines.push(String::new());
        lines.extend(self.floor.iter().cloned());
        lines.extend(self.failed.iter().map(|failed| format!("FAILED  {failed}")));
        lines
    }

    /// The document, with the record in it.
    pub(crate) fn markdown(&self) -> anyhow::Result<String> {
        let Machine { cpu, cores, memory_gib, kernel, postgres, kafka, java, rustc, commit } = &self.machine;
        let mut text = format!(
            "# Benchmarks\n\nWritten by `make bench`. Each figure is a ratio of two things that were measured on the same \
             machine in the same run, by turns, {} times for {} s each: the median, and the smallest and largest of the \
             rounds. T is measured for {} s before and after what is set against it. What each figure means and how it is measured: [bench/README.md](../bench/README.md).\n\n\
             {} · {cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel} · {postgres} · Kafka {kafka} · {java} · {rustc} · \
             OpenOrder {commit}. Load, system, broker and database share the machine.\n\n\
             | | Row | Figure | Value | min–max | Goal | |\n|---|---|---|---|---|---|---|\n",
            self.rounds, self.seconds, self.reference_seconds, self.date
        );
        for figure in &self.figures {
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                figure.mark(),
                figure.id,
                figure.title,
                figure.value_text(),
                figure.spread_text(),
                figure.goal,
                figure.note
            )?;
        }
        if !self.floor.is_empty() {
            writeln!(text, "\n## L, the least CPU of an order\n")?;
            for line in &self.floor {
                writeln!(text, "- {line}")?;
            }
        }
        writeln!(text, "\n## What the ratios are made of\n\n| Sample | Values, round by round |\n|---|---|")?;
        for (name, values) in self.samples.all() {
            let values: Vec<String> = values.iter().map(|value| short(*value)).collect();
            writeln!(text, "| `{name}` | {} |", values.join(", "))?;
        }
        writeln!(text, "\n{RECORD}{}\n```", serde_json::to_string_pretty(&self.record())?)?;
        Ok(text)
    }

    /// Ratios alone: they mean the same on another machine, or nearly so.
    fn record(&self) -> Vec<Recorded> {
        let ratios = self.figures.iter().filter_map(|figure| {
            let row = ROWS.iter().find(|row| row.id == figure.id && row.denominator.is_some())?;
            let higher_is_better = match row.goal {
                Goal::AtLeast(_) => true,
                Goal::AtMost(_) => false,
                Goal::None => return None,
            };
            Some(Recorded {
                id: figure.id.to_owned(),
                title: Some(figure.title.to_owned()),
                ratio: figure.value?.median,
                higher_is_better,
            })
        });
        ratios.collect()
    }

    /// What is worse than in the recorded document: each row's id, and words; nothing when all is well.
    ///
    /// # Errors
    /// When the document holds no record.
    pub(crate) fn check(&self, document: &str) -> anyhow::Result<Vec<(String, String)>> {
        let record = document.split_once(RECORD).and_then(|(_, rest)| rest.split_once("\n```"));
        let (record, _) = record.ok_or_else(|| anyhow::anyhow!("there is no record in it: `make bench` writes one"))?;
        let (now, before) = (self.record(), serde_json::from_str::<Vec<Recorded>>(record)?);
        for id in redefined(&now, &before) {
            say(format_args!("row {id} is not compared: what was recorded under this number was another figure"));
        }
        Ok(worse(&now, &before))
    }
}

/// Rows that are another figure than the recorded one.
fn redefined<'a>(now: &'a [Recorded], before: &[Recorded]) -> Vec<&'a str> {
    let is_other = |now: &&Recorded| before.iter().any(|before| before.id == now.id && !is_same(now, before));
    now.iter().filter(is_other).map(|now| now.id.as_str()).collect()
}

fn is_same(now: &Recorded, before: &Recorded) -> bool {
    now.id == before.id && (before.title.is_none() || before.title == now.title)
}

fn worse(now: &[Recorded], before: &[Recorded]) -> Vec<(String, String)> {
    let moved = now.iter().filter_map(|now| {
        let before = before.iter().find(|before| is_same(now, before) && before.ratio > 0.0)?;
        let times = if now.higher_is_better { now.ratio / before.ratio } else { before.ratio / now.ratio };
        (times < TOLERANCE).then(|| {
            let (id, was, is) = (&now.id, before.ratio, now.ratio);
            let moved = format!("row {id}: {is:.2}, recorded {was:.2}: at {:.0} % of what it was", times * 100.0);
            (id.clone(), moved)
        })
    });
    moved.collect()
}

pub(crate) fn floor_lines(samples: &mut Samples) -> Vec<String> {
    let Some((cost, orders)) = reference::conclude(samples) else { return Vec::new() };
    let steps = STEPS.iter().map(|step| {
        let each = samples.smallest(step.name).unwrap_or_default();
        let (count, sum) = (step.per_order, each * step.per_order);
        format!("{count:>2.0} × {each:.1} µs a {} = {sum:.0} µs ({})", step.what, step.why)
    });
    let sum = format!("L: {cost:.0} µs an order, {orders:.0} orders/s on all cores");
    steps.chain([sum]).collect()
}

fn figure(side: &Side, row: &Row) -> Figure {
    let value = Spread::of(&row.values(&side.samples));
    let (goal, met) = match row.goal {
        Goal::AtLeast(goal) => (format!("≥ {goal}"), value.map(|value| value.median >= goal)),
        Goal::AtMost(goal) => (format!("≤ {goal}"), value.map(|value| value.median <= goal)),
        Goal::None => (String::new(), None),
    };
    let note = note(side, row, value.is_some());
    Figure { id: row.id, title: row.title, goal, unit: row.unit, value, met, note }
}

/// What there is to say of a row besides its value.
fn note(side: &Side, row: &Row, is_measured: bool) -> String {
    let failed = row.parts.iter().find_map(|part| side.failed.get(part));
    let missing = match (is_measured, failed) {
        (true, None) => String::new(),
        (true, Some(why)) => format!("not in all rounds: {why}"),
        (false, None) => "not measured".to_owned(),
        (false, Some(why)) => format!("not measured: {why}"),
    };
    let noted = side.notes.get(row.id).filter(|_| is_measured || failed.is_none());
    [noted.cloned().unwrap_or_default(), missing]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// The parts of a side that went wrong, and why.
pub(crate) fn failed(side: &Side) -> Vec<String> {
    side.failed.iter().map(|(part, why)| format!("{}, {part:?}: {why}", side.label)).collect()
}

impl Figure {
    fn mark(&self) -> &'static str {
        match self.met {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "·",
        }
    }

    fn value_text(&self) -> String {
        self.value.map_or("–".to_owned(), |value| {
            format!("{}{}{}", short(value.median), if self.unit.is_empty() { "" } else { " " }, self.unit)
        })
    }

    fn spread_text(&self) -> String {
        self.value.map_or(String::new(), |value| format!("{}–{}", short(value.min), short(value.max)))
    }
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(id: &str, ratio: f64, higher_is_better: bool) -> Recorded {
        Recorded { id: id.to_owned(), title: None, ratio, higher_is_better }
    }

    #[test]
    fn a_row_that_became_another_figure_is_told_and_not_compared() {
        let titled = |title: &str, ratio| Recorded { title: Some(title.to_owned()), ..recorded("5b", ratio, false) };
        let (now, other, same) = ([titled("at 0.3 T", 9.0)], [titled("at 35 %", 1.0)], [titled("at 0.3 T", 1.0)]);
        assert_eq!((redefined(&now, &other), worse(&now, &other).len()), (vec!["5b"], 0));
        assert_eq!((redefined(&now, &same), worse(&now, &same).len()), (vec![], 1));
        let untitled = [recorded("5b", 1.0, false)];
        assert_eq!((redefined(&now, &untitled), worse(&now, &untitled).len()), (vec![], 1), "an older record");
    }

    #[test]
    fn a_ratio_that_lost_three_tenths_is_worse_in_its_own_direction() {
        let before = [recorded("2", 2.0, true), recorded("5a", 0.5, false)];
        assert!(worse(&[recorded("2", 1.41, true), recorded("5a", 0.71, false)], &before).is_empty());
        let now = [recorded("2", 1.0, true), recorded("5a", 1.0, false), recorded("9", 9.0, false)];
        let moved: Vec<String> = worse(&now, &before).into_iter().map(|(_, moved)| moved).collect();
        assert_eq!(
            moved,
            [
                "row 2: 1.00, recorded 2.00: at 50 % of what it was",
                "row 5a: 1.00, recorded 0.50: at 50 % of what it was"
            ]
        );
    }

    #[test]
    fn numbers_keep_three_digits_that_count() {
        assert_eq!([short(1234.5), short(12.34), short(0.456)], ["1234", "12.3", "0.46"]);
    }
}
