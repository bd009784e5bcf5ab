//! Which dead letters a call means, by group.

use std::collections::BTreeMap;

use openorder_proto::internal::operations::v1::GroupFilter;
use openorder_proto::operations::v1::DeadLetterFilter;
use openorder_rpc::{Violations, rejection};
use serde_json::{Value, json};
use tonic::Status;

use super::Operations;
use crate::{domain::LetterId, services::Service};

/// Letters that one call names at most.
const IDS_MAX: usize = 1_000;

/// The letters of one group.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) service: Service,
    pub(super) filter: GroupFilter,
}

impl Operations {
    /// By group, what a filter means.
    pub(super) fn targets_of(&self, filter: &DeadLetterFilter) -> Result<Vec<Target>, Status> {
        let services = self.services.chosen(&filter.groups)?;
        let of = |service| Target { service, filter: group_filter(filter) };
        Ok(services.into_iter().map(of).collect())
    }

    /// By group, what an act is about: letters by their ids, or a filter.
    pub(super) fn targets(&self, ids: &[String], filter: Option<&DeadLetterFilter>) -> Result<Vec<Target>, Status> {
        let mut violations = Violations::new();
        match (ids, filter) {
            ([], None) => violations.add("filter", "FIELD_MISSING", "either dead_letter_ids or filter must be given"),
            ([_, ..], Some(_)) => violations.add("filter", "SET_DOUBLED", "cannot be given besides dead_letter_ids"),
            _ => {}
        }
        if ids.len() > IDS_MAX {
            violations.add("dead_letter_ids", "TOO_MANY", format!("must be at most {IDS_MAX}"));
        }
        let mut by_group: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (index, id) in ids.iter().enumerate() {
            if let Some(id) = violations.take(format!("dead_letter_ids[{index}]"), LetterId::parse(id)) {
                by_group.entry(id.group).or_default().push(id.sequence);
            }
        }
        violations.finish().map_err(rejection)?;
        if let Some(filter) = filter {
            return self.targets_of(filter);
        }
        let of = |(group, mut sequences): (String, Vec<i64>)| {
            sequences.sort_unstable();
            sequences.dedup();
            let service = self.services.find(&group)?;
            Ok(Target { service, filter: GroupFilter { sequences, ..Default::default() } })
        };
        by_group.into_iter().map(of).collect()
    }
}

fn group_filter(filter: &DeadLetterFilter) -> GroupFilter {
    GroupFilter {
        sequences: Vec::new(),
        topic: filter.topic.clone(),
        event_type: filter.event_type.clone(),
        reason: filter.reason.clone(),
        key: filter.key.clone(),
        time_from: filter.dead_time_from,
        time_until: filter.dead_time_until,
    }
}

/// A set as the trail shows it.
pub(super) fn shown(ids: &[String], filter: Option<&DeadLetterFilter>) -> Value {
    let Some(filter) = filter else { return json!({ "dead_letter_ids": ids }) };
    let time = |time: Option<prost_types::Timestamp>| time.map(|time| time.to_string());
    let mut shown = serde_json::Map::new();
    let mut add = |name: &str, value: Value| {
        if !matches!(&value, Value::Null) && value != json!("") && value != json!([]) {
            shown.insert(name.to_owned(), value);
        }
    };
    add("groups", json!(filter.groups));
    add("topic", json!(filter.topic));
    add("event_type", json!(filter.event_type));
    add("reason", json!(filter.reason));
    add("key", json!(filter.key));
    add("dead_time_from", json!(time(filter.dead_time_from)));
    add("dead_time_until", json!(time(filter.dead_time_until)));
    json!({ "filter": shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_shows_only_the_conditions_that_were_given() {
        let filter = DeadLetterFilter { topic: "t".to_owned(), ..Default::default() };
        assert_eq!(shown(&[], Some(&filter)), json!({ "filter": { "topic": "t" } }));
        assert_eq!(shown(&["a/1".to_owned()], None), json!({ "dead_letter_ids": ["a/1"] }));
    }
}
