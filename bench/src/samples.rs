//! What was measured, by name, in the order of the rounds.

use std::collections::BTreeMap;

use serde::Serialize;

/// Values by name. A name has its unit at its end, or is a rate a second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Samples(BTreeMap<&'static str, Vec<f64>>);

impl Samples {
    pub(crate) fn push(&mut self, name: &'static str, value: f64) {
        self.0.entry(name).or_default().push(value);
    }

    pub(crate) fn of(&self, name: &str) -> &[f64] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The quotient of each round; what was measured once stands against every round.
    pub(crate) fn quotients(&self, numerator: &str, denominator: &str) -> Vec<f64> {
        let (above, below) = (self.of(numerator), self.of(denominator));
        let last = |values: &[f64], round: usize| values.get(round).or(values.last()).copied();
        let rounds = if above.is_empty() || below.is_empty() { 0 } else { above.len().max(below.len()) };
        let pairs = (0..rounds).filter_map(|round| last(above, round).zip(last(below, round)));
        pairs.filter(|(_, below)| *below > 0.0).map(|(above, below)| above / below).collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &[f64])> {
        self.0.iter().map(|(name, values)| (*name, values.as_slice()))
    }

    /// The middle of the values; none of nothing.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        median(self.of(name))
    }

    /// The smallest of the values; none of nothing.
    pub(crate) fn smallest(&self, name: &str) -> Option<f64> {
        self.of(name).iter().copied().reduce(f64::min)
    }
}

/// The middle of the values, between the two middle ones when they are even in number.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_of_the_same_round_and_a_single_value_serves_all() {
        let mut samples = Samples::default();
        for value in [10.0, 30.0] {
            samples.push("a", value);
        }
        for value in [5.0, 10.0] {
            samples.push("b", value);
        }
        samples.push("once", 2.0);
        samples.push("nothing", 0.0);
        assert_eq!(samples.quotients("a", "b"), [2.0, 3.0]);
        assert_eq!(samples.quotients("a", "once"), [5.0, 15.0]);
        assert_eq!(samples.quotients("a", "nothing"), [0.0; 0]);
        assert_eq!(samples.quotients("a", "unknown"), [0.0; 0]);
    }

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
