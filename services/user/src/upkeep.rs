//! What has to be done now and then: keys are read, replaced when they are due, and forgotten when their tokens have ended;
//! what is needed no more is deleted.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use openorder_messaging::Backbone;
use openorder_runtime::{Again, every};
use openorder_types::{Fault, Timestamp};
use sqlx::PgPool;

use crate::application::milliseconds;
use crate::config::UserSettings;
use crate::credentials::{Keyring, Keys, SealedKey, Sealer};
use crate::persistence;

const KEYS_LATER: &str = "the keys of access tokens cannot be read; they are later, and those that are known sign on";
const LATER: &str = "what is needed no more cannot be deleted; it is later";

/// Reads the keys; makes those that are not there yet.
///
/// # Errors
/// [`Fault`] of the database; permanent, of a key that is sealed with another key than that of the settings.
pub(crate) async fn first_keys(pool: &PgPool, sealer: &Sealer) -> Result<Keys, Fault> {
    let now = Utc::now();
    persistence::add_server_key(pool, &SealedKey::deriving(sealer, now)?).await?;
    // The first one signs at once: nobody has tokens of another.
    persistence::add_signing_key_after(pool, &SealedKey::signing(sealer, now, now)?, None).await?;
    Keys::open(sealer, &persistence::read_server_keys(pool).await?)
}

/// Keeps the keys as they stand in the database, and there as they have to be, until shutdown.
pub(crate) async fn keep_keys(backbone: Arc<Backbone>, sealer: Arc<Sealer>, keyring: Keyring, settings: UserSettings) {
    let shutdown = backbone.shutdown().clone();
    let mut rounds = every(Duration::from_millis(settings.signing_key_check_interval_ms), &shutdown);
    while rounds.next().await {
        let kept = keep(backbone.pool(), &sealer, &keyring, &settings).await;
        rounds.ended(kept.map(|()| Again::Later), KEYS_LATER);
    }
}

async fn keep(pool: &PgPool, sealer: &Sealer, keyring: &Keyring, settings: &UserSettings) -> Result<(), Fault> {
    let keys = Keys::open(sealer, &persistence::read_server_keys(pool).await?)?;
    let now = Utc::now();
    for key_id in keys.sealed_before() {
        if let Some(secret) = keys.secret(key_id) {
            let sealed = sealer.seal(key_id, secret).map_err(Fault::permanent)?;
            persistence::seal_anew(pool, key_id, sealed).await?;
        }
    }
    let announce = milliseconds(settings.signing_key_announce_ms);
    if let Some(last) = keys.signing().first()
        && last.activate_time + milliseconds(settings.signing_key_life_ms) - announce <= now
    {
        let next = SealedKey::signing(sealer, now, now + announce)?;
        persistence::add_signing_key_after(pool, &next, Some(last.create_time)).await?;
    }
    for key_id in over(&keys, now, settings) {
        persistence::delete_signing_key(pool, &key_id).await?;
    }
    keyring.replace(keys);
    Ok(())
}

/// Keys whose tokens have all ended: another one has signed for longer than a token is valid.
fn over(keys: &Keys, now: Timestamp, settings: &UserSettings) -> Vec<String> {
    let life = milliseconds(settings.access_token_life_ms + settings.signing_key_announce_ms)
        + chrono::TimeDelta::seconds(2 * openorder_auth::LEEWAY_SECONDS);
    let replaced = keys.signing().windows(2).filter_map(|pair| match pair {
        [next, before] if next.activate_time + life < now => Some(before.key.key_id().to_owned()),
        _ => None,
    });
    replaced.collect()
}

/// Deletes what is needed no more, until shutdown.
pub(crate) async fn delete_old(backbone: Arc<Backbone>, settings: UserSettings) {
    let shutdown = backbone.shutdown().clone();
    let mut rounds = every(Duration::from_millis(settings.upkeep_interval_ms), &shutdown);
    while rounds.next().await {
        let now = Utc::now();
        let activities_before = now - milliseconds(settings.activity_keep_ms);
        let sessions_before = now - milliseconds(settings.session_keep_ms);
        let pool = backbone.pool();
        let deleted =
            persistence::delete_old(pool, now, activities_before, sessions_before, settings.upkeep_batch_max).await;
        rounds.ended(deleted.map(|is_more| if is_more { Again::AtOnce } else { Again::Later }), LATER);
    }
}
