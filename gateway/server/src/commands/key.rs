//! `datamesh key list|create|enable|disable|delete`: access keys.

use super::remote::Remote;
use super::render::{table, time};
use super::{Failed, print};
use crate::admin::shapes::{KeyInfo, KeyMade, NewKey};
use clap::{Args, Subcommand};

/// Access keys of the accounts. Accounts beside root come from the settings.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Every key; never a secret.
    List,
    /// Make a key; its secret is shown this once.
    Create {
        /// Name or canonical id of its account [default: root].
        #[arg(long)]
        account: Option<String>,
        /// A note.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Let a disabled key sign again.
    Enable {
        /// Which.
        access_key: String,
    },
    /// Refuse a key's signatures, within a second.
    Disable {
        /// Which.
        access_key: String,
    },
    /// Delete a key for good.
    Delete {
        /// Which.
        access_key: String,
    },
}

impl Key {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let action = self.action;
        self.remote.with(async |mut connection| match action {
            Action::List => {
                let keys: Vec<KeyInfo> = connection.get("/v1/keys").await?;
                connection.show(&keys, |keys| key_table(keys))
            }
            Action::Create { account, description } => {
                connection.only_on_loopback()?;
                let made: KeyMade = connection.post("/v1/keys", &NewKey { account, description }).await?;
                connection.show(&made, |made| {
                    format!(
                        "access key  {}\nsecret key  {}\naccount     {}\n\nThe secret is not shown again.\n",
                        made.key.access_key, made.secret_key, made.key.account
                    )
                })
            }
            Action::Enable { access_key } => set(&mut connection, &access_key, "enable").await,
            Action::Disable { access_key } => set(&mut connection, &access_key, "disable").await,
            Action::Delete { access_key } => {
                connection.delete(&format!("/v1/keys/{}", plain(&access_key)?)).await?;
                print("")
            }
        })
    }
}

async fn set(
    connection: &mut super::remote::Connection,
    key: &str,
    how: &str,
) -> Result<(), Failed> {
    let path = format!("/v1/keys/{}/{how}", plain(key)?);
    let key: KeyInfo = connection.post(&path, &serde_json::Value::Null).await?;
    connection.show(&key, |key| key_table(std::slice::from_ref(key)))
}

/// Access keys have nothing to encode in a path.
fn plain(key: &str) -> Result<&str, Failed> {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain {
        Ok(key)
    } else {
        Err(Failed::wrong(format!(
            "{key}: an access key has only A-Z a-z 0-9 - _"
        )))
    }
}

fn key_table(keys: &[KeyInfo]) -> String {
    let rows = keys.iter().map(|key| {
        vec![
            key.access_key.clone(),
            key.account.clone(),
            key.state.clone(),
            time(key.created_ms),
            key.description.clone(),
        ]
    });
    table(
        &["access key", "account", "state", "created", "description"],
        rows,
    )
}
