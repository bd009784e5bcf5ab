//! The table of events, made from the option `openorder.event.v1.event` of the contract's messages.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use protox::prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MessageDescriptor};

/// The option that makes a message an event.
const OPTION: &str = "openorder.event.v1.event";

/// One event: what its message's option says.
struct Event {
    context: String,
    message: String,
    event_type: String,
}

/// The invocation of `events!` in `src/events.rs`: topics in the order of their names, each with its events in the order
/// of their messages.
///
/// # Errors
///
/// When a message with the option is not in a package `openorder.<context>.v1`, lacks its type or topic, or has the type
/// of another message.
pub(crate) fn table(contract: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option =
        contract.get_extension_by_name(OPTION).ok_or_else(|| format!("the contract has no option {OPTION}"))?;
    let mut topics: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut messages: BTreeMap<String, String> = BTreeMap::new();
    for message in contract.all_messages() {
        let Some((topic, event)) = event_of(&message, &option)? else { continue };
        if let Some(other) = messages.insert(event.event_type.clone(), message.full_name().to_owned()) {
            return Err(format!("{}: {other} has the type {} already", message.full_name(), event.event_type).into());
        }
        topics.entry(topic).or_default().push(event);
    }
    written(&topics)
}

fn event_of(
    message: &MessageDescriptor,
    option: &ExtensionDescriptor,
) -> Result<Option<(String, Event)>, Box<dyn Error>> {
    let options = message.options();
    if !options.has_extension(option) {
        return Ok(None);
    }
    let name = message.full_name();
    let value = options.get_extension(option);
    let value = value.as_message().ok_or_else(|| format!("{OPTION} of {name} is no message"))?;
    let ["openorder", context, "v1"] = message.package_name().split('.').collect::<Vec<_>>()[..] else {
        return Err(format!(
            "{name}: events stand in packages openorder.<context>.v1, by whose names the table is made"
        )
        .into());
    };
    let event = Event {
        context: context.to_owned(),
        message: message.name().to_owned(),
        event_type: text(value, "type").ok_or_else(|| format!("{OPTION} of {name} has no type"))?,
    };
    let topic = text(value, "topic").ok_or_else(|| format!("{OPTION} of {name} has no topic"))?;
    Ok(Some((topic, event)))
}

/// A field's text; `None` for an empty one.
fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn written(topics: &BTreeMap<String, Vec<Event>>) -> Result<String, Box<dyn Error>> {
    let mut table = "events! {\n".to_owned();
    for (topic, events) in topics {
        let (unversioned, _) = topic.rsplit_once('.').ok_or_else(|| format!("the topic {topic} has no version"))?;
        writeln!(table, "    {} = {topic:?} {{", unversioned.replace('.', "_").to_uppercase())?;
        for Event { context, message, event_type } in events {
            writeln!(table, "        {} = {event_type:?} => {context}::{message},", upper_snake(message))?;
        }
        table.push_str("    }\n");
    }
    table.push_str("}\n");
    Ok(table)
}

/// `OrderCreated` as `ORDER_CREATED`.
fn upper_snake(camel: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in camel.char_indices() {
        if index > 0 && letter.is_uppercase() {
            snake.push('_');
        }
        snake.extend(letter.to_uppercase());
    }
    snake
}
