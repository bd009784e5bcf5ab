//! The names under which carts stand in Redis.

use openorder_types::UserId;
use uuid::Uuid;

use crate::domain::Owner;

/// The names of a deployment's carts. What stands in braces has a cluster keep all of them on one server: two carts are
/// merged in one step.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(store_id: Uuid) -> Self {
        Self { prefix: format!("openorder:cart:{{{store_id}}}") }
    }

    pub(super) fn cart(&self, owner: &Owner) -> String {
        match owner {
            Owner::Customer(customer_id) => format!("{}:customer:{customer_id}", self.prefix),
            Owner::Visitor(visitor_id) => format!("{}:visitor:{visitor_id}", self.prefix),
        }
    }

    /// What a caller has done under a request id. Ids are the caller's own, and of one cart: callers who do not sign in have
    /// one name together.
    pub(crate) fn request(&self, owner: &Owner, caller: &str, request_id: &str) -> String {
        let cart = self.cart(owner);
        // No two callers and ids make the same text.
        format!("{cart}:request:{}:{caller}:{request_id}", caller.len())
    }

    /// What an order has taken out.
    pub(crate) fn taken(&self, customer_id: &UserId, checkout_id: Uuid) -> String {
        format!("{}:taken:{checkout_id}", self.cart(&Owner::Customer(customer_id.clone())))
    }

    /// What was put back of an order that was rejected.
    pub(crate) fn put_back(&self, customer_id: &UserId, checkout_id: Uuid) -> String {
        format!("{}:put-back:{checkout_id}", self.cart(&Owner::Customer(customer_id.clone())))
    }

    /// What stands there as long as Redis keeps what it was given.
    pub(super) fn mark(&self) -> String {
        format!("{}:mark", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_things_have_one_name() {
        let keys = Keys::new(Uuid::nil());
        let user = |name: &str| Owner::Customer(UserId::parse(name).unwrap());
        let visitor = Owner::Visitor(Uuid::from_u128(1));
        let names = [
            keys.mark(),
            keys.cart(&user("ada")),
            keys.cart(&user("ada.request")),
            keys.cart(&user(&Uuid::from_u128(1).to_string())),
            keys.cart(&visitor),
            keys.request(&user("ada"), "a", "b:c"),
            keys.request(&user("ada"), "a:b", "c"),
            keys.request(&user("ada"), "1:a", "b"),
            keys.request(&visitor, "a", "b"),
            keys.taken(&UserId::parse("ada").unwrap(), Uuid::from_u128(1)),
            keys.put_back(&UserId::parse("ada").unwrap(), Uuid::from_u128(1)),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| name.starts_with("openorder:cart:{00000000-0000-0000-0000-000000000000}:")));
    }
}
