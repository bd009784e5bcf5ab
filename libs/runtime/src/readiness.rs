//! Which dependency of which role is there.

use std::fmt;

use serde::Serialize;
use tokio::sync::watch;

/// What is known of one dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not there yet: the role is starting.
    Waiting,
    /// There.
    Ready,
    /// It was there and is away now.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Down => "down",
        })
    }
}

/// What a role cannot do without a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Answer calls: without it the role is not ready.
    Required,
    /// Work of its own, which waits until the dependency is back: without it the role is degraded, and answers calls.
    Background,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::Background => "background",
        })
    }
}

/// What a process, or a role, can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It cannot answer calls: something that is required is not there.
    Waiting,
    /// It answers calls, while background work waits.
    Degraded,
    /// Everything is there.
    Ready,
}

/// One dependency as the admin port shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DependencyState {
    /// The role that needs it, such as `order`.
    pub role: String,
    /// What is needed, such as `postgres`.
    pub name: String,
    /// What the role cannot do without it.
    pub need: Need,
    /// What is known of it.
    pub state: State,
    /// Why it is not ready; empty when it is.
    pub detail: String,
}

/// The dependencies of all roles of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    // A watch channel is a list that can be waited for.
    states: watch::Sender<Vec<DependencyState>>,
}

impl Readiness {
    /// A registry without dependencies; it is not ready until the first one is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a dependency without which a role cannot answer calls, as waited for. A name that is registered
    /// already gives another handle to the same entry and leaves its state.
    pub fn dependency(&self, role: impl Into<String>, name: impl Into<String>) -> Dependency {
        self.register(role.into(), name.into(), Need::Required)
    }

    /// Like [`Readiness::dependency`], for one without which only work in the background waits.
    pub fn background(&self, role: impl Into<String>, name: impl Into<String>) -> Dependency {
        self.register(role.into(), name.into(), Need::Background)
    }

    fn register(&self, role: String, name: String, need: Need) -> Dependency {
        let mut index = 0;
        self.states.send_if_modified(|states| {
            let known = states.iter().position(|state| state.role == role && state.name == name);
            index = known.unwrap_or(states.len());
            if known.is_none() {
                states.push(DependencyState {
                    role: role.clone(),
                    name: name.clone(),
                    need,
                    state: State::Waiting,
                    detail: "not tried yet".to_owned(),
                });
            }
            known.is_none()
        });
        Dependency { readiness: self.clone(), index, role, name }
    }

    /// All dependencies in the order of their registration.
    #[must_use]
    pub fn snapshot(&self) -> Vec<DependencyState> {
        self.states.borrow().clone()
    }

    /// What the process can do, all its roles together. One that has registered no dependency is still starting.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let states = self.states.borrow();
        if states.is_empty() { Condition::Waiting } else { condition(states.iter()) }
    }

    /// What one role can do; a role without dependencies is ready.
    #[must_use]
    pub fn condition_of(&self, role: &str) -> Condition {
        condition(self.states.borrow().iter().filter(|state| state.role == role))
    }

    /// Whether every dependency of every role is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition() == Condition::Ready
    }

    /// Waits until [`Readiness::is_ready`].
    pub async fn wait_ready(&self) {
        self.wait_for(Condition::Ready).await;
    }

    /// Waits until every role answers calls, whether background work waits or not.
    pub async fn wait_serving(&self) {
        self.wait_for(Condition::Degraded).await;
    }

    async fn wait_for(&self, at_least: Condition) {
        let mut states = self.states.subscribe();
        // The sender lives in `self`, so this ends by readiness alone.
        let _ = states.wait_for(|states| !states.is_empty() && condition(states.iter()) >= at_least).await;
    }
}

fn condition<'a>(states: impl Iterator<Item = &'a DependencyState>) -> Condition {
    let missing = states.filter(|state| state.state != State::Ready);
    let worst = missing.map(|state| match state.need {
        Need::Required => Condition::Waiting,
        Need::Background => Condition::Degraded,
    });
    worst.min().unwrap_or(Condition::Ready)
}

/// A handle by which the user of a dependency says how it is.
#[derive(Debug, Clone)]
pub struct Dependency {
    readiness: Readiness,
    index: usize,
    role: String,
    name: String,
}

impl Dependency {
    /// The role that needs it.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// What is needed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Not there yet, and why. The reason is shown on the admin port: no secrets.
    pub fn waiting(&self, reason: impl fmt::Display) {
        self.set(State::Waiting, reason.to_string());
    }

    /// There.
    pub fn ready(&self) {
        self.set(State::Ready, String::new());
    }

    /// It was there and is away now, and why. The reason is shown on the admin port: no secrets.
    pub fn down(&self, reason: impl fmt::Display) {
        self.set(State::Down, reason.to_string());
    }

    fn set(&self, state: State, detail: String) {
        self.readiness.states.send_if_modified(|states| {
            let Some(entry) = states.get_mut(self.index) else {
                return false;
            };
            let changed = entry.state != state || entry.detail != detail;
            entry.state = state;
            entry.detail = detail;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_dependency_of_every_role() {
        let readiness = Readiness::new();
        assert!(!readiness.is_ready(), "nothing is registered yet");
        let postgres = readiness.dependency("order", "postgres");
        let kafka = readiness.dependency("order", "kafka");
        postgres.ready();
        assert!(!readiness.is_ready());
        kafka.ready();
        assert!(readiness.is_ready());
        kafka.down("no broker answers");
        assert!(!readiness.is_ready());
        let shown = &readiness.snapshot()[1];
        assert_eq!((shown.state, shown.detail.as_str()), (State::Down, "no broker answers"));
    }

    #[test]
    fn one_name_is_one_entry() {
        let readiness = Readiness::new();
        readiness.dependency("order", "postgres").ready();
        let again = readiness.dependency("order", "postgres");
        assert!(readiness.is_ready(), "a second handle leaves the state");
        readiness.dependency("payment", "postgres");
        assert_eq!(readiness.snapshot().len(), 2);
        again.waiting("moved");
        assert_eq!(readiness.snapshot()[0].detail, "moved");
    }

    #[test]
    fn what_works_in_the_background_makes_a_role_degraded_and_no_more() {
        let readiness = Readiness::new();
        assert_eq!(readiness.condition(), Condition::Waiting, "nothing is registered yet");
        let postgres = readiness.dependency("order", "postgres");
        let kafka = readiness.background("order", "kafka");
        let other = readiness.dependency("payment", "postgres");
        assert_eq!(readiness.condition_of("order"), Condition::Waiting);
        postgres.ready();
        assert_eq!(readiness.condition_of("order"), Condition::Degraded);
        assert_eq!(readiness.condition(), Condition::Waiting, "the other role waits");
        other.ready();
        assert_eq!(readiness.condition(), Condition::Degraded);
        kafka.ready();
        assert!(readiness.is_ready());
        kafka.down("no broker answers");
        assert_eq!(readiness.condition(), Condition::Degraded);
        assert_eq!(readiness.condition_of("payment"), Condition::Ready);
        postgres.down("gone");
        assert_eq!(readiness.condition_of("order"), Condition::Waiting);
    }

    #[tokio::test]
    async fn readiness_can_be_waited_for() {
        let readiness = Readiness::new();
        let postgres = readiness.dependency("order", "postgres");
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait_ready().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        postgres.ready();
        assert!(waiting.await.is_ok());
    }
}
