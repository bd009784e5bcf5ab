//! Values of messages in words: decoded by the contract's own descriptors.

use prost_reflect::{DescriptorPool, DynamicMessage};

/// Longest JSON form that is shown, in bytes; an answer has to fit a gRPC message.
const JSON_LENGTH_MAX: usize = 1 << 20;

/// A value in words, or why not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Payload {
    /// Full name of the message that the type promises.
    pub(super) message: String,
    /// In protobuf's JSON form.
    pub(super) json: String,
    /// Why there is no JSON form.
    pub(super) error: String,
}

/// Decodes the value of an event type.
pub(super) fn decode(contract: &DescriptorPool, event_type: &str, value: &[u8]) -> Payload {
    let Some(event) = openorder_proto::by_type(event_type) else {
        let error = format!("the event type {event_type:?} is not part of the contract");
        return Payload { error, ..Default::default() };
    };
    let message = event.message.to_owned();
    match json(contract, event.message, value) {
        Ok(json) => Payload { message, json, error: String::new() },
        Err(error) => Payload { message, json: String::new(), error },
    }
}

fn json(contract: &DescriptorPool, message: &str, value: &[u8]) -> Result<String, String> {
    let descriptor = contract.get_message_by_name(message).ok_or("the contract does not describe the message")?;
    let message = DynamicMessage::decode(descriptor, value).map_err(|error| error.to_string())?;
    let json = serde_json::to_string(&message).map_err(|error| error.to_string())?;
    if json.len() > JSON_LENGTH_MAX {
        return Err(format!("its JSON form has {} bytes, too many to be shown", json.len()));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use openorder_proto::{FILE_DESCRIPTOR_SET, events, google::r#type::Money, payment::v1::PaymentCompleted};
    use prost::Message;

    use super::*;

    fn contract() -> DescriptorPool {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn a_value_shows_in_protobuf_s_json_form() {
        let amount = Money { currency_code: "EUR".to_owned(), units: 19, nanos: 0 };
        let event = PaymentCompleted { order_id: "o-1".to_owned(), amount: Some(amount), ..Default::default() };
        let shown = decode(&contract(), "payment.transaction.completed", &event.encode_to_vec());
        assert_eq!(shown.message, "openorder.payment.v1.PaymentCompleted");
        let json: serde_json::Value = serde_json::from_str(&shown.json).unwrap();
        assert_eq!(json["orderId"], "o-1");
        assert_eq!(json["amount"]["units"], "19", "64-bit numbers are texts in protobuf's JSON");
        assert_eq!(shown.error, "");
    }

    #[test]
    fn every_event_of_the_contract_can_be_shown() {
        let contract = contract();
        for event in events::ALL {
            let shown = decode(&contract, event.event_type, &[]);
            assert_eq!((shown.message.as_str(), shown.json.as_str()), (event.message, "{}"), "{}", event.event_type);
        }
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        let garbage = decode(&contract(), "payment.transaction.completed", b"not protobuf");
        assert!(garbage.json.is_empty() && !garbage.error.is_empty() && !garbage.message.is_empty(), "{garbage:?}");
        let unknown = decode(&contract(), "nobody.knows.this", b"");
        assert!(unknown.message.is_empty() && unknown.error.contains("nobody.knows.this"), "{unknown:?}");
    }
}
