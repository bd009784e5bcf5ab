//! What was measured, by name, in the order of the rounds.

use std::collections::BTreeMap;

use serde::Serialize;

/// Values by name. A name has its unit at its end, or is a rate a second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    pub(crate) fn push(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// One value instead of those that there are.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), vec![value]);
    }

    /// Those of others, whose names are all different.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.clone());
    }

    pub(crate) fn of(&self, name: &str) -> &[f64] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The quotient of each round; what was measured once stands against every round.
    pub(crate) fn quotients(&self, numerator: &str, denominator: &str) -> Vec<f64> {
        let (above, below) = (self.of(numerator), self.of(denominator));
        let of =
            |values: &[f64], round: usize| if values.len() == 1 { values.first() } else { values.get(round) }.copied();
        let rounds = if above.is_empty() || below.is_empty() { 0 } else { above.len().max(below.len()) };
        let pairs = (0..rounds).filter_map(|round| of(above, round).zip(of(below, round)));
        pairs.filter(|(_, below)| *below > 0.0).map(|(above, below)| above / below).collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &[f64])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
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

/// Middle, smallest and largest of the rounds; none of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let (min, max) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        Some(Self { median: median(values)?, min, max })
    }
}

/// Each round's quotient of two things that were measured in the same rounds.
pub(crate) fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    let pairs = above.iter().zip(below).filter(|(_, below)| **below > 0.0);
    pairs.map(|(above, below)| above / below).collect()
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
        samples.push("a", 60.0);
        assert_eq!(samples.quotients("a", "b"), [2.0, 3.0], "a round that one of them lacks is left out");
    }

    #[test]
    fn a_pair_is_compared_round_by_round_and_not_as_a_whole() {
        let found = ratios(&[110.0, 55.0, 220.0], &[100.0, 50.0, 200.0, 7.0]);
        let spread = Spread::of(&found).unwrap();
        assert!((spread.max - spread.min).abs() < 1e-9 && (spread.median - 1.1).abs() < 1e-9, "{spread:?}");
        assert_eq!(ratios(&[1.0], &[0.0]), [0.0; 0]);
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    }

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
