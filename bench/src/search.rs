//! Looks for the highest rate that holds, in a bounded number of trials.

/// Two rates this near to each other are the same.
const NEAR: f64 = 1.05;
/// While every rate holds, the next one is higher by this.
const STEP_UP: f64 = 1.5;
/// While none holds, the next one is lower by this.
const STEP_DOWN: f64 = 2.0;

/// What is known so far.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    next: f64,
    /// The highest rate that held.
    holds: Option<f64>,
    /// The lowest rate that did not hold.
    fails: Option<f64>,
    trials_left: u32,
}

impl Search {
    pub(crate) fn new(first: f64, trials_max: u32) -> Self {
        Self { next: first, holds: None, fails: None, trials_left: trials_max }
    }

    /// The rate to be tried; none when it is known well enough or was tried often enough.
    pub(crate) fn next(&self) -> Option<f64> {
        let is_near = self.holds.zip(self.fails).is_some_and(|(holds, fails)| fails <= holds * NEAR);
        (self.trials_left > 0 && !is_near).then_some(self.next)
    }

    /// What came of it.
    pub(crate) fn tell(&mut self, holds: bool) {
        let known = if holds { &mut self.holds } else { &mut self.fails };
        *known = Some(self.next);
        self.trials_left = self.trials_left.saturating_sub(1);
        self.next = match (self.holds, self.fails) {
            (Some(holds), Some(fails)) => (holds * fails).sqrt(),
            (Some(holds), None) => holds * STEP_UP,
            (None, Some(fails)) => fails / STEP_DOWN,
            (None, None) => self.next,
        };
    }

    /// The highest rate that held; none when none did.
    pub(crate) fn found(&self) -> Option<f64> {
        self.holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found when rates up to `limit` hold, and in how many trials.
    fn search(first: f64, limit: f64, trials_max: u32) -> (Option<f64>, u32) {
        let mut search = Search::new(first, trials_max);
        let mut trials = 0;
        while let Some(rate) = search.next() {
            search.tell(rate <= limit);
            trials += 1;
        }
        (search.found(), trials)
    }

    #[test]
    fn the_limit_is_found_to_five_percent_from_below_and_from_above() {
        for limit in [40.0, 900.0, 1_000.0, 1_300.0, 2_900.0] {
            let (found, trials) = search(1_000.0, limit, 20);
            let found = found.unwrap();
            assert!(found <= limit && found * 1.05 >= limit, "{found} for {limit}");
            assert!(trials <= 10, "{trials} trials for {limit}");
        }
    }

    #[test]
    fn the_number_of_trials_is_bounded_and_nothing_is_found_where_nothing_holds() {
        assert_eq!(search(1_000.0, f64::MAX, 4), (Some(3_375.0), 4));
        assert_eq!(search(1_000.0, 0.0, 5), (None, 5));
    }
}
