//! Questions for single rows that are asked at the same time share a query.
//!
//! A query costs a round trip and a plan whatever it asks for, and one for five hundred keys costs little more than one for
//! one. Nobody waits for company: a question that finds room begins its query at once, and what comes while all queries
//! are under way goes together into the next one. A query begins after each of its questions was asked, so that no answer
//! is older than its question.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use openorder_types::Fault;
use tokio::sync::oneshot;

use crate::DatabaseSettings;

type Query<K, V> = Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<Vec<(K, V)>, Fault>> + Send + Sync>;
type Answer<V> = oneshot::Sender<Result<Option<V>, Fault>>;

/// Reads rows of one kind by their key. Clones share their queries.
///
/// What waits is bounded by the calls that are let in: each waits for its own answers.
pub struct SharedReads<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    query: Query<K, V>,
    queries_max: usize,
    keys_max: usize,
    waiting: Mutex<Waiting<K, V>>,
}

struct Waiting<K, V> {
    questions: Vec<(K, Answer<V>)>,
    queries: usize,
}

impl<K, V> SharedReads<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Reads by this query, which is given the keys, each once, and gives what it found for them: `database.shared_reads_max`
    /// at a time, each for `database.shared_read_keys_max` keys at most.
    pub fn new<F>(settings: &DatabaseSettings, query: F) -> Self
    where
        F: Fn(Vec<K>) -> BoxFuture<'static, Result<Vec<(K, V)>, Fault>> + Send + Sync + 'static,
    {
        let shared = Shared {
            query: Box::new(query),
            queries_max: settings.shared_reads_max as usize,
            keys_max: settings.shared_read_keys_max as usize,
            waiting: Mutex::new(Waiting { questions: Vec::new(), queries: 0 }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The row of this key as last committed when this was called, or later; `None` when there is none.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn get(&self, key: K) -> Result<Option<V>, Fault> {
        let (answer, answered) = oneshot::channel();
        if self.shared.ask(key, answer) {
            // Not the work of the one who asked: it may leave, and the others still wait.
            tokio::spawn(Arc::clone(&self.shared).answer_all());
        }
        answered.await.unwrap_or_else(|_| Err(Fault::retryable("the query ended without an answer")))
    }
}

impl<K, V> Shared<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Whether a query has to begin for it.
    fn ask(&self, key: K, answer: Answer<V>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.questions.push((key, answer));
        let begins = waiting.queries < self.queries_max;
        waiting.queries += usize::from(begins);
        begins
    }

    /// The questions of the next query; with none, the one who asks is done.
    fn take(&self) -> HashMap<K, Vec<Answer<V>>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.questions.retain(|(_, answer)| !answer.is_closed());
        let count = waiting.questions.len().min(self.keys_max);
        let mut by_key: HashMap<K, Vec<Answer<V>>> = HashMap::with_capacity(count);
        for (key, answer) in waiting.questions.drain(..count) {
            by_key.entry(key).or_default().push(answer);
        }
        waiting.queries -= usize::from(by_key.is_empty());
        by_key
    }

    async fn answer_all(self: Arc<Self>) {
        loop {
            let questions = self.take();
            if questions.is_empty() {
                return;
            }
            self.answer(questions).await;
        }
    }

    async fn answer(&self, questions: HashMap<K, Vec<Answer<V>>>) {
        match self.read(questions.keys().cloned().collect()).await {
            // One row that cannot be read is nothing to those who ask for others.
            Err(Fault::Permanent { .. }) if questions.len() > 1 => {
                for (key, answers) in questions {
                    let found = self.read(vec![key]).await.map(|found| found.into_iter().next());
                    send(answers, found.map(|found| found.map(|(_, value)| value)));
                }
            }
            Err(fault) => questions.into_values().for_each(|answers| send(answers, Err(fault.clone()))),
            Ok(found) => {
                let mut found: HashMap<K, V> = found.into_iter().collect();
                for (key, answers) in questions {
                    send(answers, Ok(found.remove(&key)));
                }
            }
        }
    }

    async fn read(&self, keys: Vec<K>) -> Result<Vec<(K, V)>, Fault> {
        let found = AssertUnwindSafe(async { (self.query)(keys).await }).catch_unwind().await;
        found.unwrap_or_else(|_| Err(Fault::permanent("the query panicked")))
    }
}

/// Answers all who asked for one key.
fn send<V: Clone>(mut answers: Vec<Answer<V>>, found: Result<Option<V>, Fault>) {
    let last = answers.pop();
    for answer in answers {
        // Whoever left needs no answer.
        let _ = answer.send(found.clone());
    }
    if let Some(answer) = last {
        let _ = answer.send(found);
    }
}

impl<K, V> Clone for SharedReads<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V> fmt::Debug for SharedReads<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReads").field("queries_max", &self.shared.queries_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// A table that answers when it may, and remembers what it was asked for.
    struct Table {
        asked: Mutex<Vec<Vec<u32>>>,
        may_answer: Semaphore,
        panics: AtomicUsize,
    }

    /// The row 13 cannot be read; rows from 100 on are not there.
    fn reads(queries_max: u32, keys_max: u32) -> (SharedReads<u32, String>, Arc<Table>) {
        let table =
            Arc::new(Table { asked: Mutex::default(), may_answer: Semaphore::new(0), panics: AtomicUsize::new(0) });
        let settings = DatabaseSettings {
            shared_reads_max: queries_max,
            shared_read_keys_max: keys_max,
            ..DatabaseSettings::default()
        };
        let of_query = Arc::clone(&table);
        let reads = SharedReads::new(&settings, move |mut keys: Vec<u32>| {
            let table = Arc::clone(&of_query);
            keys.sort_unstable();
            table.asked.lock().unwrap().push(keys.clone());
            let answer = async move {
                table.may_answer.acquire().await.unwrap().forget();
                assert_eq!(table.panics.swap(0, Ordering::SeqCst), 0, "told to panic");
                match keys.contains(&13) {
                    true => Err(Fault::permanent("row 13 cannot be read")),
                    false => Ok(keys.into_iter().filter(|key| *key < 100).map(|key| (key, key.to_string())).collect()),
                }
            };
            answer.boxed()
        });
        (reads, table)
    }

    /// Asks, each in a task of its own, and waits until all have.
    async fn ask(
        reads: &SharedReads<u32, String>,
        keys: impl IntoIterator<Item = u32>,
    ) -> Vec<tokio::task::JoinHandle<Result<Option<String>, Fault>>> {
        let asking = keys.into_iter().map(|key| {
            let reads = reads.clone();
            tokio::spawn(async move { reads.get(key).await })
        });
        let asking = asking.collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        asking
    }

    fn queries(table: &Table) -> Vec<Vec<u32>> {
        table.asked.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn what_comes_while_all_queries_are_under_way_shares_the_next_one() {
        let (reads, table) = reads(2, 500);
        let first = ask(&reads, [1]).await;
        let second = ask(&reads, [2]).await;
        let others = ask(&reads, [5, 3, 4, 3, 100]).await;
        assert_eq!(queries(&table), [vec![1], vec![2]], "a question that finds room waits for nobody");
        table.may_answer.add_permits(3);
        for (asked, found) in first.into_iter().chain(second).chain(others).zip(["1", "2", "5", "3", "4", "3", ""]) {
            assert_eq!(asked.await.unwrap().unwrap().unwrap_or_default(), found);
        }
        assert_eq!(queries(&table)[2..], [vec![3, 4, 5, 100]], "a key is asked for once");
        // All are at rest, and begin again.
        table.may_answer.add_permits(1);
        assert_eq!(reads.get(7).await.unwrap().as_deref(), Some("7"));
    }

    /// A query that is under way may have read before: a question that comes then is answered by a later one.
    #[tokio::test]
    async fn an_answer_is_never_older_than_its_question() {
        let (reads, table) = reads(1, 500);
        let before = ask(&reads, [1]).await;
        let after = ask(&reads, [1]).await;
        table.may_answer.add_permits(2);
        for asked in before.into_iter().chain(after) {
            asked.await.unwrap().unwrap();
        }
        assert_eq!(queries(&table), [[1], [1]]);
    }

    #[tokio::test]
    async fn a_query_asks_for_so_many_keys_at_most() {
        let (reads, table) = reads(1, 10);
        let asked = ask(&reads, 20..56).await;
        table.may_answer.add_permits(100);
        join_all(asked).await;
        assert!(queries(&table).iter().all(|keys| keys.len() <= 10), "{:?}", queries(&table));
        assert_eq!(queries(&table).concat().len(), 36);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_fails_those_alone_who_ask_for_it() {
        let (reads, table) = reads(1, 500);
        let held = ask(&reads, [1]).await;
        let asked = ask(&reads, [12, 13, 14, 13]).await;
        table.may_answer.add_permits(100);
        let found: Vec<_> = join_all(asked).await.into_iter().map(|found| found.unwrap().ok().flatten()).collect();
        assert_eq!(found, [Some("12".to_owned()), None, Some("14".to_owned()), None]);
        join_all(held).await;
    }

    #[tokio::test]
    async fn who_leaves_takes_nobody_along_and_a_panic_is_a_failure() {
        let (reads, table) = reads(1, 500);
        let left = ask(&reads, [1]).await;
        let stayed = ask(&reads, [2]).await;
        left.iter().for_each(tokio::task::JoinHandle::abort);
        table.may_answer.add_permits(2);
        for asked in stayed {
            assert_eq!(asked.await.unwrap().unwrap().as_deref(), Some("2"));
        }
        table.panics.store(1, Ordering::SeqCst);
        table.may_answer.add_permits(2);
        assert!(matches!(reads.get(3).await, Err(Fault::Permanent { .. })));
        assert_eq!(reads.get(3).await.unwrap().as_deref(), Some("3"));
    }
}
