//! One list out of those of several groups, page by page.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};

/// How far each group's list was given; a group that is not there has no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub BTreeMap<String, i64>);

/// What a group gave: items in the order of their sequence, and where its list goes on; 0 for nowhere.
pub struct GroupPage<T> {
    /// The group.
    pub group: String,
    /// Its items.
    pub items: Vec<T>,
    /// What to ask for next; 0 when these are its last.
    pub next: i64,
}

/// How large a merged page becomes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Items at most.
    pub size: usize,
    /// Bytes at most; an item that is larger comes alone.
    pub bytes: usize,
}

/// The first items of all groups by `order`, each group's in its own order, and the cursor of the next page; none when
/// nothing is left. Groups of `before` that gave nothing, because they did not answer, stay where they stood.
pub fn merge<T: Message, O: Ord>(
    before: &Cursor,
    pages: Vec<GroupPage<T>>,
    bounds: Bounds,
    order: impl Fn(&T) -> O,
    sequence: impl Fn(&T) -> i64,
) -> (Vec<T>, Option<Cursor>) {
    let mut after = before.clone();
    let mut merged = Vec::with_capacity(bounds.size);
    let mut bytes: usize = 0;
    let mut rest: Vec<_> =
        pages.into_iter().map(|page| (page.group, page.items.into_iter().peekable(), page.next)).collect();
    while merged.len() < bounds.size {
        let heads = rest.iter_mut().filter_map(|(group, items, _)| {
            let head = order(items.peek()?);
            Some((head, group, items))
        });
        // Of equals the first group's.
        let Some((_, group, items)) = heads.reduce(|best, next| if next.0 < best.0 { next } else { best }) else {
            break;
        };
        bytes = bytes.saturating_add(items.peek().map_or(0, Message::encoded_len));
        if bytes > bounds.bytes && !merged.is_empty() {
            break;
        }
        if let Some(item) = items.next() {
            after.0.insert(group.clone(), sequence(&item));
            merged.push(item);
        }
    }
    let mut more = false;
    for (group, mut items, next) in rest {
        match (items.peek().is_some(), next) {
            (true, _) => more = true,
            (false, 0) => drop(after.0.remove(&group)),
            (false, next) => {
                after.0.insert(group, next);
                more = true;
            }
        }
    }
    (merged, more.then_some(after))
}

#[cfg(test)]
mod tests {
    use openorder_proto::operations::v1::ParkedMessage;
    use proptest::prelude::*;

    use super::*;

    /// Items as (time, group, sequence).
    type Item = (u8, usize, i64);

    fn message(item: &Item) -> ParkedMessage {
        ParkedMessage {
            parked_message_id: item.2.to_string(),
            group: item.1.to_string(),
            partition: item.0.into(),
            ..Default::default()
        }
    }

    fn item(message: &ParkedMessage) -> Item {
        let sequence = message.parked_message_id.parse().unwrap();
        (u8::try_from(message.partition).unwrap(), message.group.parse().unwrap(), sequence)
    }

    /// What a group answers to "after this sequence, at most so many".
    fn page(all: &[Item], group: usize, after: i64, size: usize) -> GroupPage<ParkedMessage> {
        let of_group: Vec<Item> =
            all.iter().copied().filter(|(_, one, sequence)| *one == group && *sequence > after).collect();
        let items: Vec<Item> = of_group.iter().copied().take(size).collect();
        let next = if of_group.len() > size { items.last().map_or(0, |last| last.2) } else { 0 };
        GroupPage { group: group.to_string(), items: items.iter().map(message).collect(), next }
    }

    proptest! {
        #[test]
        fn page_by_page_every_item_comes_once_and_each_group_s_in_its_order(
            times in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..4),
            size in 1_usize..7,
            bytes in 0_usize..60,
        ) {
            let all: Vec<Item> = times.iter().enumerate().flat_map(|(group, times)| {
                times.iter().enumerate().map(move |(index, time)| (*time, group, index as i64 + 1))
            }).collect();
            let mut cursor = Cursor((0..times.len()).map(|group| (group.to_string(), 0)).collect());
            let mut seen: Vec<Item> = Vec::new();
            loop {
                let pages = cursor.0.iter().map(|(group, after)| page(&all, group.parse().unwrap(), *after, size));
                let (items, next) = merge(&cursor, pages.collect(), Bounds { size, bytes }, |one| item(one).0, |one| item(one).2);
                prop_assert!(items.len() <= size);
                prop_assert!(items.len() < 2 || items.iter().map(Message::encoded_len).sum::<usize>() <= bytes);
                seen.extend(items.iter().map(item));
                match next {
                    Some(next) => cursor = next,
                    None => break,
                }
                prop_assert!(seen.len() <= all.len(), "no end");
            }
            prop_assert_eq!(seen.len(), all.len());
            for group in 0..times.len() {
                let of_group: Vec<i64> = seen.iter().filter(|item| item.1 == group).map(|item| item.2).collect();
                prop_assert!(of_group.is_sorted());
            }
        }
    }

    #[test]
    fn a_group_that_does_not_answer_keeps_its_place() {
        let before = Cursor([("a".to_owned(), 0), ("b".to_owned(), 7)].into());
        let pages = vec![GroupPage { group: "a".to_owned(), items: vec![1_i64, 2, 3], next: 0 }];
        let bounds = Bounds { size: 2, bytes: usize::MAX };
        let (items, next) = merge(&before, pages, bounds, |item| *item, |item| *item);
        assert_eq!(items, [1, 2]);
        assert_eq!(next.unwrap().0, [("a".to_owned(), 2), ("b".to_owned(), 7)].into());
    }
}
