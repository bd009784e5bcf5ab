//! Carts in Redis: one hash a cart, written by compare and set.
//!
//! - `keys.rs`: the names; `fields.rs`: a cart as the fields of a hash;
//! - `scripts/`: the steps that there are, each of which is one instant for everybody else;
//! - `watch.rs`: whether Redis is there, and has what it was given.

mod fields;
mod keys;
mod watch;

use std::time::Duration;

use openorder_config::Secret;
use openorder_redis::Connection;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_types::Fault;
use redis::{RedisError, Script};
use uuid::Uuid;

pub(crate) use keys::Keys;
pub(crate) use watch::watch;

use crate::domain::{Cart, Owner};

/// How long carts are kept, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lives {
    pub(crate) customer_ms: u64,
    pub(crate) visitor_ms: u64,
}

impl Lives {
    pub(crate) fn of(self, owner: &Owner) -> u64 {
        match owner {
            Owner::Customer(_) => self.customer_ms,
            Owner::Visitor(_) => self.visitor_ms,
        }
    }
}

/// What shows that something was done: it is written in the same step, and nothing is done again as long as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) key: String,
    /// Of what was done; not empty.
    pub(crate) value: Vec<u8>,
    pub(crate) keep_ms: u64,
}

/// A cart to be written in the place of the one that was read.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) before: Option<&'a Cart>,
    pub(crate) after: &'a Cart,
}

/// What came of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    Done,
    /// A cart is not as it was read.
    Changed,
    /// It was done before.
    Known,
}

/// Carts, and what stands under the key of a proof; nothing stands there as long as it was not done.
pub(crate) type Loaded = (Vec<Option<Cart>>, Option<Vec<u8>>);

pub(crate) struct Store {
    connection: Connection,
    keys: Keys,
    lives: Lives,
    load: Script,
    save: Script,
    delete: Script,
}

impl Store {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub(crate) fn new(
        url: &Secret,
        timeout: Duration,
        keys: Keys,
        lives: Lives,
        telemetry: RoleTelemetry,
    ) -> Result<Self, RedisError> {
        Ok(Self {
            connection: Connection::new(url, timeout, telemetry)?,
            keys,
            lives,
            load: Script::new(include_str!("scripts/load.lua")),
            save: Script::new(include_str!("scripts/save.lua")),
            delete: Script::new("return redis.call('DEL', KEYS[1])"),
        })
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn lives(&self) -> Lives {
        self.lives
    }

    /// The cart of an owner, which is kept for longer by that.
    ///
    /// # Errors
    /// An outage of Redis; permanent, of what is no cart.
    pub(crate) async fn read(&self, owner: &Owner, trace: &TraceContext) -> Result<Option<Cart>, Fault> {
        let (mut carts, _) = self.load_with(&[owner], None, trace).await?;
        Ok(carts.pop().flatten())
    }

    /// The carts of these owners, and whether something was done already: at one instant.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn load(&self, owners: &[&Owner], proof: &Proof, trace: &TraceContext) -> Result<Loaded, Fault> {
        self.load_with(owners, Some(proof), trace).await
    }

    async fn load_with(&self, owners: &[&Owner], proof: Option<&Proof>, trace: &TraceContext) -> Result<Loaded, Fault> {
        let mut call = self.load.prepare_invoke();
        for owner in owners {
            call.key(self.keys.cart(owner)).arg(self.lives.of(owner));
        }
        if let Some(proof) = proof {
            call.key(proof.key.as_str());
        }
        let (carts, known): (Vec<Vec<Vec<u8>>>, Vec<u8>) = self.connection.invoke("load carts", &call, trace).await?;
        let carts = carts.iter().map(|cart| fields::read(cart)).collect::<Result<_, _>>()?;
        Ok((carts, Some(known).filter(|known| !known.is_empty())))
    }

    /// Writes carts that are as they were read, and the proof: all of it or nothing. Without a cart, the proof alone.
    ///
    /// # Errors
    /// An outage of Redis; then it may have been done.
    pub(crate) async fn save(&self, proof: &Proof, writes: &[Write<'_>], trace: &TraceContext) -> Result<Saved, Fault> {
        let mut call = self.save.prepare_invoke();
        call.key(proof.key.as_str()).arg(proof.value.as_slice()).arg(proof.keep_ms);
        for write in writes {
            let read = write.before.map_or((String::new(), 0), |cart| (cart.cart_id.to_string(), cart.version));
            let fields = fields::written(write.after);
            call.key(self.keys.cart(write.owner)).arg(read.0).arg(read.1).arg(self.lives.of(write.owner));
            call.arg(fields.len()).arg(fields);
        }
        let answer: i64 = self.connection.invoke("save carts", &call, trace).await?;
        Ok(match answer {
            1 => Saved::Done,
            0 => Saved::Changed,
            _ => Saved::Known,
        })
    }

    /// Deletes the cart of an owner, if there is one.
    ///
    /// # Errors
    /// An outage of Redis; then it may have been done.
    pub(crate) async fn delete(&self, owner: &Owner, trace: &TraceContext) -> Result<(), Fault> {
        let mut call = self.delete.prepare_invoke();
        call.key(self.keys.cart(owner));
        self.connection.invoke::<i64>("delete a cart", &call, trace).await.map(drop)
    }

    /// What stands in Redis as long as that keeps what it was given; `new` where nothing stands there.
    ///
    /// # Errors
    /// An outage of Redis.
    async fn mark(&self, new: Uuid) -> Result<Option<Uuid>, Fault> {
        let key = self.keys.mark();
        let mut look = redis::pipe();
        look.cmd("SET").arg(&key).arg(new.to_string()).arg("NX").ignore().cmd("GET").arg(&key);
        let (found,): (String,) = self.connection.look(&look).await?;
        Ok(Uuid::try_parse(&found).ok())
    }
}
