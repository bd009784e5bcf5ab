//! Reading of `OPENORDER_FAULT_POINTS`.

use crate::POINTS;

/// What is wrong with the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OPENORDER_FAULT_POINTS: {place}: {detail}")]
pub struct SpecError {
    place: String,
    detail: String,
}

impl SpecError {
    pub(crate) fn new(place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { place: place.into(), detail: detail.into() }
    }
}

/// Points with their actions in the words of the `fail` crate.
pub(crate) fn parse(text: &str) -> Result<Vec<(&'static str, String)>, SpecError> {
    let points = text.split(';').map(str::trim).filter(|point| !point.is_empty());
    points
        .map(|point| {
            let (name, actions) = point.split_once('=').ok_or_else(|| SpecError::new(point, "is not name=action"))?;
            let name = name.trim();
            let known = POINTS
                .iter()
                .find(|known| **known == name)
                .ok_or_else(|| SpecError::new(name, format!("no such point; there are {}", POINTS.join(", "))))?;
            let actions: Result<Vec<String>, SpecError> = actions
                .split("->")
                .map(|one| action(one.trim()).map_err(|detail| SpecError::new(name, detail)))
                .collect();
            Ok((*known, actions?.join("->")))
        })
        .collect()
}

/// `[p%][n*]action[(argument)]`; ours become the crate's `return` with a word that tells what to do.
fn action(text: &str) -> Result<String, String> {
    let task_at = text.rfind(['%', '*']).map_or(0, |place| place + 1);
    let (frequency, task) = text.split_at(task_at);
    let (task, argument) = match task.split_once('(') {
        Some((task, argument)) => (task, argument.strip_suffix(')').ok_or("a bracket is not closed")?),
        None => (task, ""),
    };
    let word = match (task, argument) {
        ("off", "") => return Ok(format!("{frequency}off")),
        ("crash", "") => "crash",
        ("error", "" | "retryable") => "retryable",
        ("error", "outage") => "outage",
        ("error", "permanent") => "permanent",
        ("delay", milliseconds) if milliseconds.parse::<u32>().is_ok() => milliseconds,
        _ => {
            return Err(format!(
                "{text:?}: actions are error, error(outage|retryable|permanent), delay(ms), crash, off"
            ));
        }
    };
    Ok(format!("{frequency}return({word})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_chances_and_chains_reach_the_crate_as_they_are() {
        let parsed = parse("relay.after_publish=1*crash; consumer.before_commit=50%delay(100)->2*error->off;").unwrap();
        assert_eq!(parsed[0], ("relay.after_publish", "1*return(crash)".to_owned()));
        assert_eq!(parsed[1], ("consumer.before_commit", "50%return(100)->2*return(retryable)->off".to_owned()));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for wrong in [
            "relay.published=crash",
            "replay.item",
            "replay.item=boom",
            "replay.item=delay(x)",
            "replay.item=error(bad)",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("OPENORDER_FAULT_POINTS: re"), "{error}");
        }
    }
}
