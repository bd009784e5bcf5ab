//! Whether Python's protobuf reads and writes the same JSON: a second opinion from a library that has nothing in common with
//! this one. `dev/json-roundtrip` runs it, with the Python client's generated messages.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use openorder_fuzzing::Random;

use super::*;
use crate::transcode::arbitrary::{self, DEPTH, canonical, is_of_the_contract};
use crate::transcode::contract::PUBLIC;

/// The program that answers: `clients/python/run json`, with its arguments.
const PEER: &str = "OPENORDER_JSON_PEER";
/// Messages of each type.
const COUNT: &str = "OPENORDER_JSON_COUNT";
const COUNT_USUAL: u64 = 20;
/// Out of what they are made.
const SEED: &str = "OPENORDER_JSON_SEED";

/// What the other library makes of a message.
struct Answer {
    /// The message that our JSON is to it.
    message: Vec<u8>,
    /// Its JSON of the message.
    json: String,
}

/// Python, as long as there are questions.
struct Peer {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(program: &OsString) -> Self {
        let mut command = Command::new(program);
        command.arg("json").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (questions, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, questions, answers: BufReader::new(answers) }
    }

    /// Asks about a message, and JSON of it; both a line.
    fn ask(&mut self, name: &str, message: &[u8], json: &[u8]) -> Result<Answer, String> {
        let json = std::str::from_utf8(json).unwrap();
        assert!(!json.contains('\n'));
        writeln!(self.questions, "{name}\t{}\t{json}", digits(message)).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name}: {error}: {line:?}"));
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        match text("error") {
            Some(error) => Err(error),
            None => Ok(Answer { message: bytes(&text("message").unwrap()), json: text("json").unwrap() }),
        }
    }

    fn end(mut self) {
        drop(self.questions);
        assert!(self.child.wait().unwrap().success());
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// In what the two do not agree about a message; nothing where they do.
fn disagreement(message: &DynamicMessage, answer: &Answer) -> Option<String> {
    let descriptor = message.descriptor();
    let theirs = DynamicMessage::decode(descriptor.clone(), answer.message.as_slice()).unwrap();
    if theirs != *message {
        return Some(format!("our JSON is another message to it: {theirs:?}"));
    }
    match read(&descriptor, answer.json.as_bytes(), UnknownFields::Refused) {
        Ok(ours) if canonical(&ours) == *message => None,
        Ok(ours) => Some(format!("its JSON is another message to us: {}: {ours:?}", answer.json)),
        Err(refused) => Some(format!("its JSON is refused by us: {}: {refused:?}", answer.json)),
    }
}

/// An order of this customer's.
fn order_of(customer: &str) -> DynamicMessage {
    let descriptor = PUBLIC.pool().get_message_by_name("openorder.order.v1.CreateOrderRequest").unwrap();
    let mut message = DynamicMessage::new(descriptor);
    message.set_field_by_name("customer_id", Value::String(customer.to_owned()));
    canonical(&message)
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

#[test]
#[ignore = "needs the Python client's tools: dev/json-roundtrip"]
fn python_reads_and_writes_the_same_json() {
    let mut peer = Peer::start(&std::env::var_os(PEER).expect("dev/json-roundtrip says who answers"));
    // First that a difference is seen at all, both ways: it is told of one message, and given the JSON of another.
    let (ada, eve) = (order_of("ada"), order_of("eve"));
    let of_eve = write(&eve.descriptor(), &eve.encode_to_vec()).unwrap();
    let mixed_up = peer.ask(ada.descriptor().full_name(), &ada.encode_to_vec(), &of_eve).unwrap();
    assert!(disagreement(&ada, &mixed_up).unwrap().starts_with("our JSON is another message"));
    assert!(disagreement(&eve, &mixed_up).unwrap().starts_with("its JSON is another message"));
    assert!(peer.ask(ada.descriptor().full_name(), b"", b"{\"nothing\": 1}").is_err());

    let (seed, count) = (number(SEED).unwrap_or(1), number(COUNT).unwrap_or(COUNT_USUAL));
    let (mut types, mut wrong) = (BTreeSet::new(), Vec::new());
    for descriptor in PUBLIC.pool().all_messages().filter(is_of_the_contract) {
        let name = descriptor.full_name();
        types.insert(name.to_owned());
        for at in 0..count {
            let message = arbitrary::message(&mut Random::of(seed, at), &descriptor, DEPTH);
            let encoded = message.encode_to_vec();
            let json = write(&descriptor, &encoded).unwrap_or_else(|error| panic!("{name}: {error}: {message:?}"));
            let found = match peer.ask(name, &encoded, &json) {
                Ok(answer) => disagreement(&message, &answer),
                Err(error) => Some(format!("it cannot read our JSON: {error}")),
            };
            if let Some(found) = found {
                wrong.push(format!("{name}, number {at}: {found}\n  ours: {}", String::from_utf8_lossy(&json)));
                break;
            }
        }
    }
    peer.end();
    assert!(types.len() > 150, "{} types", types.len());
    assert!(wrong.is_empty(), "seed {seed}: {} types differ:\n{}", wrong.len(), wrong.join("\n"));
}
