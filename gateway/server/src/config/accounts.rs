//! Accounts beside root, as the settings name them.

use super::{ConfigError, SecretText, check_key_pair};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An account beside root, provisioned at start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// Display name.
    pub(crate) name: String,
    /// Canonical id: what ACLs and listings show.
    pub(crate) canonical_id: String,
    /// For ACL grants by e-mail.
    #[serde(default)]
    pub(crate) email: String,
    /// Its access key.
    pub(crate) access_key: String,
    /// Its secret.
    pub(crate) secret_key: SecretText,
}

impl Account {
    /// How an error names it.
    pub(crate) fn setting(&self) -> String {
        format!("accounts.{}", self.name)
    }
}

/// Each whole, and none with what is another's: the later one would take it over, or be refused by
/// the store when that is open.
pub(super) fn check(accounts: &[Account]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for account in accounts {
        let wrong = |problem: String| Err(ConfigError::new(&account.setting(), problem));
        let fields = [
            ("name", &account.name),
            ("canonical_id", &account.canonical_id),
            ("email", &account.email),
            ("access_key", &account.access_key),
        ];
        for (field, value) in fields {
            if value.trim().is_empty() {
                if field == "email" {
                    continue;
                }
                return wrong(format!("{field}: is empty"));
            }
            if !seen.insert((field, value)) {
                return wrong(format!("{field}: {value} is another account's"));
            }
        }
        check_key_pair(
            &account.setting(),
            &account.access_key,
            account.secret_key.expose(),
        )?;
    }
    Ok(())
}
