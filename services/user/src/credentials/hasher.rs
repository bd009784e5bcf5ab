//! Passwords, hashed by Argon2id: each takes tens of milliseconds of a processor and megabytes of memory, so that few are
//! at work at a time, and few wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use openorder_types::CallError;
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::UserSettings;
use crate::domain::{PasswordHash, password_queue_full};

/// What a PHC string of ours begins with.
const PREFIX: &str = "$argon2id$v=19$";
/// Random bytes of a salt.
const SALT_BYTES: usize = 16;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// What hashing a password takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub iterations: u32,
}

/// Hashes passwords and compares them.
#[derive(Debug)]
pub struct Hasher {
    cost: Cost,
    at_once: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Those that are at work, and those that wait.
    places_max: usize,
    retry_after: Duration,
    /// What a password is compared with when there is no such user: it takes as long.
    nobody: PasswordHash,
}

/// A place among those that are at work or wait.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hasher {
    /// # Errors
    /// Settings that Argon2id does not take.
    pub fn new(settings: &UserSettings) -> anyhow::Result<Self> {
        let cost = Cost { memory_kib: settings.password_memory_kib, iterations: settings.password_iterations };
        let nobody = hash("", cost).ok_or_else(|| anyhow::anyhow!("user.password_memory_kib cannot be used"))?;
        Ok(Self {
            cost,
            at_once: Arc::new(Semaphore::new(settings.password_hashes_at_once)),
            waiting: Arc::default(),
            places_max: settings.password_hashes_at_once + settings.password_queue_max,
            retry_after: Duration::from_millis(settings.password_retry_after_ms),
            nobody,
        })
    }

    /// What is kept of a password.
    ///
    /// # Errors
    /// `PASSWORD_QUEUE_FULL`.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<PasswordHash, CallError> {
        let cost = self.cost;
        self.run(move || hash(&password, cost)).await?.ok_or(CallError::Internal)
    }

    /// Whether it is the password that this was kept of; of nobody's it never is, and it takes as long.
    ///
    /// # Errors
    /// `PASSWORD_QUEUE_FULL`.
    pub async fn is_right(&self, password: Zeroizing<String>, kept: Option<&PasswordHash>) -> Result<bool, CallError> {
        let (compared, is_somebody) = (kept.unwrap_or(&self.nobody).clone(), kept.is_some());
        let matches = self.run(move || is_of(&password, &compared)).await?;
        Ok(matches && is_somebody)
    }

    /// Whether this was kept under other settings than those of now.
    #[must_use]
    pub fn is_outdated(&self, kept: &PasswordHash) -> bool {
        parse(kept).is_none_or(|kept| kept.cost != self.cost)
    }

    /// Runs the work when its turn comes. Permit and place go with it: a caller that leaves does not make room before it
    /// has ended, which it does in any case.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CallError> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(&self.waiting));
        if before >= self.places_max {
            return Err(password_queue_full(self.retry_after).into());
        }
        let permit = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| CallError::Internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (permit, place);
            work()
        });
        done.await.map_err(|_| CallError::Internal)
    }
}

/// A PHC string, taken apart.
struct Kept {
    cost: Cost,
    parallelism: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

fn hash(password: &str, cost: Cost) -> Option<PasswordHash> {
    let salt: [u8; SALT_BYTES] = rand::random();
    let hash = argon2id(password, &salt, cost, 1, HASH_BYTES)?;
    let Cost { memory_kib, iterations } = cost;
    let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash.as_slice()));
    Some(PasswordHash::new(format!("{PREFIX}m={memory_kib},t={iterations},p=1${salt}${hash}")))
}

fn is_of(password: &str, kept: &PasswordHash) -> bool {
    let Some(kept) = parse(kept) else { return false };
    let hash = argon2id(password, &kept.salt, kept.cost, kept.parallelism, kept.hash.len());
    hash.is_some_and(|hash| hash.as_slice().ct_eq(&kept.hash).into())
}

fn argon2id(password: &str, salt: &[u8], cost: Cost, parallelism: u32, bytes: usize) -> Option<Zeroizing<Vec<u8>>> {
    let params = Params::new(cost.memory_kib, cost.iterations, parallelism, Some(bytes)).ok()?;
    let mut hash = Zeroizing::new(vec![0; bytes]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password.as_bytes(), salt, &mut hash).ok()?;
    Some(hash)
}

fn parse(kept: &PasswordHash) -> Option<Kept> {
    let mut parts = kept.as_str().strip_prefix(PREFIX)?.split('$');
    let (params, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = params.split(',');
    let mut number = |name: &str| numbers.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let cost = Cost { memory_kib: number("m=")?, iterations: number("t=")? };
    let parallelism = number("p=")?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    (parts.next().is_none()).then_some(Kept { cost, parallelism, salt, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(at_once: usize, queue: usize) -> Hasher {
        let settings = UserSettings {
            password_memory_kib: 64,
            password_iterations: 1,
            password_hashes_at_once: at_once,
            password_queue_max: queue,
            ..UserSettings::default()
        };
        Hasher::new(&settings).unwrap()
    }

    fn text(password: &str) -> Zeroizing<String> {
        Zeroizing::new(password.to_owned())
    }

    /// The vector of the reference implementation (`test.c`): Argon2id, version 19, 256 KiB, two passes.
    #[test]
    fn the_reference_vector_is_recognised() {
        let kept = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let kept = PasswordHash::new(kept);
        assert!(is_of("password", &kept) && !is_of("Password", &kept));
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_nobodys_never_is() {
        let hasher = hasher(1, 1);
        let kept = hasher.hash(text("correct horse")).await.unwrap();
        assert!(kept.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", kept.as_str());
        assert_ne!(hasher.hash(text("correct horse")).await.unwrap(), kept, "each has its own salt");
        assert!(hasher.is_right(text("correct horse"), Some(&kept)).await.unwrap());
        assert!(!hasher.is_right(text("correct house"), Some(&kept)).await.unwrap());
        assert!(!hasher.is_right(text(""), None).await.unwrap(), "the hash that stands for nobody is no way in");
        let broken = PasswordHash::new("$argon2id$v=19$m=64");
        assert!(!hasher.is_right(text("correct horse"), Some(&broken)).await.unwrap());
    }

    #[test]
    fn what_was_kept_under_other_settings_is_hashed_anew() {
        let hasher = hasher(1, 1);
        assert!(!hasher.is_outdated(&hash("x", hasher.cost).unwrap()));
        assert!(hasher.is_outdated(&hash("x", Cost { iterations: 2, ..hasher.cost }).unwrap()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_caller_that_leaves_keeps_its_place_until_the_work_has_ended() {
        let hasher = Arc::new(hasher(1, 1));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let at_work = tokio::spawn({
            let hasher = Arc::clone(&hasher);
            async move {
                let work = move || {
                    begin.send(()).unwrap();
                    ended.recv().unwrap();
                };
                hasher.run(work).await
            }
        });
        begun.await.unwrap();
        at_work.abort();
        assert!(at_work.await.is_err());
        // One more may wait, and the third is refused.
        let mut waits = Box::pin(hasher.run(|| ()));
        assert!(futures::poll!(&mut waits).is_pending());
        let Err(CallError::Rejected(refused)) = hasher.run(|| ()).await else { panic!("there is room") };
        assert_eq!((refused.reason, refused.retry_after), ("PASSWORD_QUEUE_FULL", Some(Duration::from_secs(1))));
        end.send(()).unwrap();
        assert!(waits.await.is_ok());
        assert!(hasher.run(|| ()).await.is_ok());
    }
}
