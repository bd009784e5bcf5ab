//! Answers as JSON: the fields of the contract by their names there, times as RFC 3339.

use anyhow::Context;
use openorder_proto::FILE_DESCRIPTOR_SET;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// A message of the contract as a JSON value.
///
/// # Errors
/// None that occurs: the contract describes its own messages.
pub(crate) fn of<M: Message + Name>(message: &M) -> anyhow::Result<Value> {
    let descriptor = pool()?.get_message_by_name(&M::full_name()).context("a message of the contract")?;
    decoded(descriptor, &message.encode_to_vec())
}

/// Descriptors of the whole contract.
///
/// # Errors
/// None that occurs: the contract describes itself.
pub(crate) fn pool() -> anyhow::Result<DescriptorPool> {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).context("the contract's descriptors")
}

/// An encoded message as a JSON value.
///
/// # Errors
/// The bytes are no such message.
pub(crate) fn decoded(descriptor: MessageDescriptor, bytes: &[u8]) -> anyhow::Result<Value> {
    let dynamic = DynamicMessage::decode(descriptor, bytes)?;
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false).skip_default_fields(false);
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// Messages of the contract as a JSON array.
///
/// # Errors
/// As [`of`].
pub(crate) fn list<M: Message + Name>(messages: &[M]) -> anyhow::Result<Value> {
    messages.iter().map(of).collect()
}

/// A text that holds JSON as what it holds; the text itself when it does not.
pub(crate) fn embedded(text: &str) -> Value {
    match text.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::operations::v1::PartitionLag;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_the_names_of_the_contract_and_numbers_are_numbers() {
        let time = Some(prost_types::Timestamp { seconds: 0, nanos: 0 });
        let lag = PartitionLag { topic: "t".to_owned(), lag: 3, oldest_time: time, ..Default::default() };
        let json = of(&lag).unwrap();
        assert_eq!((&json["lag"], &json["oldest_time"]), (&json!(3), &json!("1970-01-01T00:00:00Z")));
        assert_eq!(json["exact"], json!(false), "what is not set is shown as well");
        assert_eq!(list(&[lag.clone(), lag]).unwrap().as_array().unwrap().len(), 2);
        assert_eq!((embedded("{\"a\":1}"), embedded("")), (json!({ "a": 1 }), Value::Null));
    }
}
