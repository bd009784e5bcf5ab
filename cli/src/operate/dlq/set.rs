//! Which dead letters a command means.

use chrono::{DateTime, Utc};
use clap::Args;
use openorder_proto::operations::v1::DeadLetterFilter;

use crate::time;

/// Conditions; all that are given must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct FilterArgs {
    /// Only of this consumer group, such as inventory; may be given several times.
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Only from this topic, such as order.lifecycle.v1.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only of this event type, such as order.lifecycle.created.
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only those that failed for this reason, such as MALFORMED.
    #[arg(long, value_name = "REASON")]
    pub error: Option<String>,
    /// Only of this key, such as an order id.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only those that died since: 90s, 15m, 2h, 3d ago, or a time such as 2026-05-17T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only those that died before: as --since.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub until: Option<DateTime<Utc>>,
}

impl FilterArgs {
    pub(super) fn to_proto(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            groups: self.group.clone(),
            topic: self.topic.clone().unwrap_or_default(),
            event_type: self.event_type.clone().unwrap_or_default(),
            reason: self.error.clone().unwrap_or_default(),
            key: self.key.clone().unwrap_or_default(),
            dead_time_from: time::to_proto(self.since),
            dead_time_until: time::to_proto(self.until),
        }
    }

    fn typed(&self) -> String {
        let mut typed: Vec<String> = self.group.iter().map(|group| format!("--group {group}")).collect();
        let mut add = |flag: &str, value: Option<String>| typed.extend(value.map(|value| format!("--{flag} {value}")));
        add("topic", self.topic.clone());
        add("type", self.event_type.clone());
        add("error", self.error.clone());
        add("key", self.key.clone());
        add("since", self.since.map(|time| time.to_rfc3339()));
        add("until", self.until.map(|time| time.to_rfc3339()));
        typed.join(" ")
    }
}

/// The set of an act: letters by their ids, or conditions, or expressly all.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// Dead letters by their ids, such as inventory/42; or else conditions, or --all.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// All dead letters of all groups.
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Which ones, by what they have in common.
    #[command(flatten)]
    pub filter: FilterArgs,
}

impl SetArgs {
    /// The set as arguments, for the hint what to type next.
    pub(super) fn typed(&self) -> String {
        match (self.ids.is_empty(), self.filter.typed()) {
            (false, _) => self.ids.join(" "),
            (true, conditions) if conditions.is_empty() => "--all".to_owned(),
            (true, conditions) => conditions,
        }
    }

    /// The ids, or the filter.
    ///
    /// # Errors
    /// Neither was given, or both.
    pub(super) fn chosen(&self) -> anyhow::Result<(Vec<String>, Option<DeadLetterFilter>)> {
        let filter = self.filter.to_proto();
        let has_conditions = filter != DeadLetterFilter::default();
        match (self.ids.is_empty(), has_conditions) {
            (false, true) => anyhow::bail!("ids and conditions cannot be given together"),
            (false, false) => Ok((self.ids.clone(), None)),
            (true, false) if !self.all => {
                anyhow::bail!(
                    "which dead letters? Name them (inventory/42), give a condition (--group …), or say --all"
                )
            }
            (true, _) => Ok((Vec::new(), Some(filter))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str], topic: Option<&str>, all: bool) -> SetArgs {
        let filter = FilterArgs { topic: topic.map(str::to_owned), ..FilterArgs::default() };
        SetArgs { ids: ids.iter().map(|id| (*id).to_owned()).collect(), all, filter }
    }

    #[test]
    fn a_set_is_named_or_described_and_everything_only_on_purpose() {
        assert_eq!(set(&["a/1"], None, false).chosen().unwrap(), (vec!["a/1".to_owned()], None));
        let (ids, filter) = set(&[], Some("t"), false).chosen().unwrap();
        assert_eq!((ids.len(), filter.unwrap().topic.as_str()), (0, "t"));
        assert_eq!(set(&[], None, true).chosen().unwrap().1, Some(DeadLetterFilter::default()));
        assert!(set(&[], None, false).chosen().is_err());
        assert!(set(&["a/1"], Some("t"), false).chosen().is_err());
        assert_eq!(set(&[], Some("t"), false).typed(), "--topic t");
        assert_eq!(set(&["a/1", "a/2"], None, false).typed(), "a/1 a/2");
        assert_eq!(set(&[], None, true).typed(), "--all");
    }
}
