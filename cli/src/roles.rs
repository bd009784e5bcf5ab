//! The roles that a process can have: the gateway, and the services of the [list](crate::services).

use std::fmt;

pub use crate::services::Role;

impl Role {
    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` and not `write_str`: columns of roles line up.
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openorder_config::settings::{Leaf, Settings, Visitor};

    use super::*;
    use crate::settings::ProcessSettings;

    #[test]
    fn every_role_is_found_by_its_name_and_listens_somewhere_of_its_own() {
        let settings = ProcessSettings::default();
        let addresses: BTreeSet<&str> = Role::ALL.iter().map(|role| settings.listen_address(*role)).collect();
        assert_eq!(addresses.len(), Role::ALL.len());
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(*role));
        }
        assert_eq!(Role::parse("all"), None);
    }

    #[test]
    fn every_service_listens_where_the_others_look_for_it() {
        let mut settings = ProcessSettings::default();
        let mut urls = Texts::default();
        settings.services.visit("", &mut urls);
        let services = Role::ALL.iter().filter(|role| **role != Role::Gateway);
        let listens: BTreeMap<String, String> =
            services.map(|role| (role.to_string(), format!("http://{}", settings.listen_address(*role)))).collect();
        assert_eq!(urls.0, listens);
    }

    /// Settings with their values.
    #[derive(Default)]
    struct Texts(BTreeMap<String, String>);

    impl Visitor for Texts {
        fn setting(&mut self, key: &str, _: &[&'static str], value: &mut dyn Leaf) {
            self.0.insert(key.to_owned(), value.shown());
        }
    }

    #[test]
    fn every_role_has_a_section_of_settings() {
        let loaded = openorder_config::load::<ProcessSettings>(&openorder_config::Sources::defaults());
        let rows = loaded.map(|loaded| loaded.explain().to_vec()).unwrap_or_default();
        for role in Role::ALL {
            let key = format!("{role}.listen_address");
            assert!(rows.iter().any(|row| row.key == key), "{key}");
        }
    }
}
