//! What a member of a group was given, in Kafka's consumer protocol.

/// Bytes of a message, read in order; none where it ends too early.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.i16()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

/// Topics and partitions of a `ConsumerProtocolAssignment`: version, then an array of topic and array of partitions.
/// None of what is no such message.
pub(super) fn parse(message: &[u8]) -> Option<Vec<(String, i32)>> {
    let mut reader = Reader(message);
    reader.i16()?;
    let mut places = Vec::new();
    for _ in 0..reader.i32()? {
        let topic = reader.string()?.to_owned();
        for _ in 0..reader.i32()? {
            places.push((topic.clone(), reader.i32()?));
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
        for (topic, partitions) in topics {
            bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(i32::try_from(partitions.len()).unwrap().to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
        }
        // User data, which nobody reads.
        bytes.extend((-1_i32).to_be_bytes());
        bytes
    }

    #[test]
    fn every_partition_of_every_topic_is_read() {
        let parsed = parse(&message(&[("a", &[0, 2]), ("b.c", &[1])])).unwrap();
        assert_eq!(parsed, [("a".to_owned(), 0), ("a".to_owned(), 2), ("b.c".to_owned(), 1)]);
        assert_eq!(parse(&message(&[])), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn nonsense_is_none_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let places = parse(&bytes).unwrap_or_default();
            prop_assert!(places.len() <= bytes.len());
        }
    }
}
