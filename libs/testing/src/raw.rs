//! Records that Kafka takes and that no client of Rust's would write: names of headers that are no text, for one.
//!
//! Kafka's own protocol, as far as it is needed: one Produce request (version 3) to the one broker that leads.

use std::time::{Duration, Instant};

use openorder_messaging::KafkaSettings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A record of any bytes.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    /// `None` for a record without a key.
    pub key: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
}

impl RawRecord {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Bytes that nothing compresses.
pub fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|_| rand::random()).collect()
}

/// Kafka's codes of a leader that is not known yet: a topic made just now has none for a moment.
const NO_LEADER_YET: [i16; 3] = [3, 5, 6];
/// How long a partition may go without a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// Writes records to a partition of a topic, given without the deployment's prefix, and waits until the broker has them.
///
/// # Panics
/// When the broker does not take them, or does not lead the partition within 30 s.
pub async fn send_raw(settings: &KafkaSettings, topic: &str, partition: i32, records: &[RawRecord]) {
    let broker = settings.brokers.split(',').next().expect("a broker");
    let request = produce_request(&settings.topic(topic), partition, &batch(records));
    let started = Instant::now();
    loop {
        match produce(broker, &request).await {
            0 => return,
            code if NO_LEADER_YET.contains(&code) && started.elapsed() < LEADER_WITHIN => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            code => panic!("the broker refuses the records with its error code {code}"),
        }
    }
}

/// Sends a request and gives Kafka's error code.
async fn produce(broker: &str, request: &[u8]) -> i16 {
    let mut stream = TcpStream::connect(broker).await.expect("the broker listens");
    stream.write_all(request).await.expect("the broker takes the request");
    let length = stream.read_i32().await.expect("an answer");
    let mut answer = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut answer).await.expect("a whole answer");
    // Correlation id, one topic and its name, one partition and its index; then the error.
    let name_length = usize::from(u16::from_be_bytes([answer[8], answer[9]]));
    let at = 10 + name_length + 4 + 4;
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

fn produce_request(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0_i16.to_be_bytes()); // Produce
    body.extend(3_i16.to_be_bytes());
    body.extend(1_i32.to_be_bytes()); // correlation
    string(&mut body, "openorder-test");
    body.extend((-1_i16).to_be_bytes()); // no transaction
    body.extend((-1_i16).to_be_bytes()); // acks of all replicas
    body.extend(10_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    string(&mut body, topic);
    body.extend(1_i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend(length_of(batch).to_be_bytes());
    body.extend(batch);
    framed(&body)
}

/// A record batch of magic 2.
fn batch(records: &[RawRecord]) -> Vec<u8> {
    let count = i32::try_from(records.len()).expect("few records");
    let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("milliseconds");
    let mut checked = Vec::new();
    checked.extend(0_i16.to_be_bytes()); // no compression
    checked.extend((count - 1).to_be_bytes());
    checked.extend(now_ms.to_be_bytes());
    checked.extend(now_ms.to_be_bytes());
    checked.extend((-1_i64).to_be_bytes()); // no producer id
    checked.extend((-1_i16).to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(count.to_be_bytes());
    for (delta, one) in (0_i64..).zip(records) {
        let encoded = record(delta, one);
        varint(&mut checked, i64::from(length_of(&encoded)));
        checked.extend(encoded);
    }
    let mut batch = Vec::new();
    batch.extend(0_i32.to_be_bytes()); // leader's epoch
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    let mut whole = 0_i64.to_be_bytes().to_vec();
    whole.extend(framed(&batch));
    whole
}

fn record(delta: i64, record: &RawRecord) -> Vec<u8> {
    let mut encoded = vec![0];
    varint(&mut encoded, 0);
    varint(&mut encoded, delta);
    bytes(&mut encoded, record.key.as_deref());
    bytes(&mut encoded, record.payload.as_deref());
    varint(&mut encoded, i64::try_from(record.headers.len()).expect("few headers"));
    for (name, value) in &record.headers {
        bytes(&mut encoded, Some(name));
        bytes(&mut encoded, Some(value));
    }
    encoded
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).expect("a short name").to_be_bytes());
    out.extend(text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| i64::from(length_of(bytes))));
    out.extend(bytes.unwrap_or_default());
}

fn length_of(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("less than 2 GiB")
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut framed = length_of(body).to_be_bytes().to_vec();
    framed.extend(body);
    framed
}

/// Zigzag, as protobuf's `sint64`.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
