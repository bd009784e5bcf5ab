//! Settings of the user service.

use openorder_config::Secret;
use openorder_service::service_settings;

service_settings! {
    /// User service.
    pub struct UserSettings(8112, "user") {
        /// What the service's own keys are sealed with in the database: a text of at least 32 characters, such as 64
        /// random hexadecimal digits, the same for all instances. Empty: one that everybody knows, for development, and
        /// only while the service listens on loopback.
        sealing_key: Secret = "";
        /// What the keys were sealed with before, while they are sealed anew; empty otherwise.
        sealing_key_before: Secret = "";
        /// Issuer of the access tokens: `iss`, exactly as callers and gateways expect it.
        issuer: String = "openorder";
        /// How long an access token is valid, in milliseconds.
        access_token_life_ms: u64 = 300_000, 10_000..=3_600_000;
        /// How long a refresh token is valid that is not used, in milliseconds.
        refresh_token_life_ms: u64 = 2_592_000_000, 1_000..=31_536_000_000;
        /// How long a session goes on however often it is refreshed, in milliseconds.
        session_life_ms: u64 = 7_776_000_000, 1_000..=31_536_000_000;
        /// How long a used refresh token gives its successor again, in milliseconds: for callers who lost the answer.
        refresh_grace_ms: u64 = 10_000, 0..=60_000;
        /// Open sessions of a user at most: beyond them, the one that was refreshed longest ago ends.
        sessions_max: usize = 100, 1..=1_000;
        /// Active API keys of a user at most: one in use, and one that takes its place.
        api_keys_max: usize = 2, 1..=100;
        /// How often the last use of an API key is written, in milliseconds.
        api_key_use_interval_ms: u64 = 60_000, 1_000..=86_400_000;
        /// Memory that hashing a new password takes, in KiB (Argon2id).
        password_memory_kib: u32 = 19_456, 8_192..=1_048_576;
        /// How often hashing a new password goes over that memory.
        password_iterations: u32 = 2, 1..=100;
        /// Passwords that are hashed at a time.
        password_hashes_at_once: usize = 2, 1..=256;
        /// Callers that wait for it at most; beyond them, they are told to come again.
        password_queue_max: usize = 64, 1..=100_000;
        /// How long these are told to wait, in milliseconds.
        password_retry_after_ms: u64 = 1_000, 10..=60_000;
        /// Redis, where failed sign-ins are counted by all instances together.
        redis_url: Secret = "redis://127.0.0.1:16379";
        /// How long Redis may take to answer, in milliseconds; while it is away each instance counts for itself.
        redis_timeout_ms: u64 = 100, 1..=60_000;
        /// Failed tries of a user from one network address without a delay.
        sign_in_free_tries: u32 = 5, 1..=1_000;
        /// The first delay, in milliseconds; it doubles with each further failure.
        sign_in_delay_ms: u64 = 1_000, 10..=60_000;
        /// The longest delay, in milliseconds.
        sign_in_delay_max_ms: u64 = 60_000, 10..=3_600_000;
        /// The longest delay of a user whatever the network address, in milliseconds: short, since others can bring it
        /// about.
        sign_in_user_delay_max_ms: u64 = 2_000, 10..=60_000;
        /// Without a failure for so long, in milliseconds, all failures are forgotten.
        sign_in_forget_ms: u64 = 900_000, 1_000..=86_400_000;
        /// Users and network addresses whose failures an instance remembers at most, for as long as Redis is away.
        sign_in_keys_max: usize = 100_000, 100..=10_000_000;
        /// How often a failed sign-in of a user is written down, in milliseconds.
        failure_interval_ms: u64 = 60_000, 1_000..=86_400_000;
        /// How long a key signs access tokens, in milliseconds.
        signing_key_life_ms: u64 = 2_592_000_000, 60_000..=31_536_000_000;
        /// How long a new key is known before it signs, in milliseconds: every gateway has to hear of it.
        signing_key_announce_ms: u64 = 60_000, 0..=86_400_000;
        /// How often it is looked for new keys, and whether one is due, in milliseconds.
        signing_key_check_interval_ms: u64 = 1_000, 10..=600_000;
        /// How long entries of what users did are kept, in milliseconds.
        activity_keep_ms: u64 = 31_536_000_000, 60_000..=315_360_000_000;
        /// How long sessions that are over are kept, in milliseconds: so long, their refresh tokens are known.
        session_keep_ms: u64 = 604_800_000, 60_000..=31_536_000_000;
        /// How often that is deleted, in milliseconds.
        upkeep_interval_ms: u64 = 60_000, 100..=86_400_000;
        /// Rows that are deleted by one statement at most.
        upkeep_batch_max: i64 = 5_000, 1..=100_000;
    }
    keeps {
        sign_in_delay_ms <= sign_in_delay_max_ms;
        refresh_token_life_ms <= session_life_ms;
    }
}
