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

/// One dependency as the admin port shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DependencyState {
    /// The role that needs it, such as `order`.
    pub role: String,
    /// What is needed, such as `postgres`.
    pub name: String,
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

    /// Registers a dependency of a role as waited for. A name that is registered already gives
    /// another handle to the same entry and leaves its state.
    pub fn dependency(&self, role: impl Into<String>, name: impl Into<String>) -> Dependency {
        let (role, name) = (role.into(), name.into());
        let mut index = 0;
        self.states.send_if_modified(|states| {
            let known = states.iter().position(|state| state.role == role && state.name == name);
            index = known.unwrap_or(states.len());
            if known.is_none() {
                states.push(DependencyState {
                    role: role.clone(),
                    name: name.clone(),
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

    /// Whether every dependency of every role is there. A process that has registered none is
    /// still starting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        all_ready(&self.states.borrow())
    }

    /// Waits until [`Readiness::is_ready`].
    pub async fn wait_ready(&self) {
        let mut states = self.states.subscribe();
        // The sender lives in `self`, so this ends by readiness alone.
        let _ = states.wait_for(|states| all_ready(states)).await;
    }
}

fn all_ready(states: &[DependencyState]) -> bool {
    !states.is_empty() && states.iter().all(|state| state.state == State::Ready)
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
