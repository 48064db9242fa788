//! What seals the keyring: exactly one of a key file, a passphrase and a file with a passphrase.

use super::{Config, ConfigError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Shortest passphrase, of the keyring and of an export.
pub(crate) const PASSPHRASE_BYTES_MIN: usize = 12;
/// Longest.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 1024;

impl Config {
    /// Whether one is set, and only one. Opens nothing.
    pub(super) fn one_lock(&self) -> Result<(), ConfigError> {
        let set = [
            self.key_file.is_some(),
            self.passphrase_file.is_some(),
            self.passphrase.is_some(),
        ];
        match set.iter().filter(|set| **set).count() {
            0 => Err(ConfigError::new(
                "key_file",
                "set key_file, or passphrase_file, or passphrase (DATAMESH_PASSPHRASE): it seals the keyring",
            )),
            1 => match &self.passphrase {
                Some(words) => fit("passphrase", words.expose()),
                None => Ok(()),
            },
            _ => Err(ConfigError::new(
                "key_file",
                "set exactly one of key_file, passphrase_file and passphrase (DATAMESH_PASSPHRASE)",
            )),
        }
    }

    /// The passphrase that seals the keyring; none: a key file does.
    pub(crate) fn passphrase(&self) -> Result<Option<Zeroizing<String>>, ConfigError> {
        if let Some(words) = &self.passphrase {
            return Ok(Some(words.expose().clone()));
        }
        self.passphrase_file.as_deref().map(read).transpose()
    }
}

/// The first line of a file that only its owner may read.
fn read(file: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let wrong =
        |why: String| ConfigError::new("passphrase_file", format!("{}: {why}", file.display()));
    let mode = std::fs::metadata(file)
        .map_err(|e| wrong(e.to_string()))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!(
            "mode {mode:o} lets others read it; chmod 600 it"
        )));
    }
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?);
    let words = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    fit("passphrase_file", &words)?;
    Ok(words)
}

fn fit(setting: &str, words: &str) -> Result<(), ConfigError> {
    if (PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&words.len()) {
        return Ok(());
    }
    let text = format!("a passphrase has {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} bytes");
    Err(ConfigError::new(setting, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(words: &str) -> Config {
        Config {
            drives: vec!["/d/1".into()],
            passphrase: Some(words.to_owned().into()),
            ..Config::default()
        }
    }

    #[test]
    fn a_passphrase_at_the_limits_and_one_past_them() {
        for length in [PASSPHRASE_BYTES_MIN, PASSPHRASE_BYTES_MAX] {
            let words = "w".repeat(length);
            let config = with(&words);
            assert!(config.validate().is_ok(), "{length}");
            assert_eq!(config.passphrase().expect("read").as_deref(), Some(&words));
        }
        for length in [0, PASSPHRASE_BYTES_MIN - 1, PASSPHRASE_BYTES_MAX + 1] {
            let refused = with(&"w".repeat(length)).validate().expect_err("refused");
            assert_eq!(refused.setting, "passphrase", "{length}");
        }
    }

    #[test]
    fn exactly_one_lock() {
        let file = Some("/k".into());
        let none = Config {
            passphrase: None,
            ..with("")
        };
        let two = Config {
            key_file: file.clone(),
            ..with("correct horse battery")
        };
        let others = Config {
            key_file: file.clone(),
            passphrase_file: file,
            ..none.clone()
        };
        for config in [none, two, others] {
            assert_eq!(config.validate().expect_err("refused").setting, "key_file");
        }
    }

    #[test]
    fn a_file_gives_its_first_line_to_its_owner_alone() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("words");
        let config = Config {
            passphrase: None,
            passphrase_file: Some(file.clone()),
            ..with("")
        };
        assert_eq!(
            config.passphrase().expect_err("none").setting,
            "passphrase_file"
        );
        std::fs::write(&file, "correct horse battery\r\nnot this\n").expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("chmod");
        assert!(
            config
                .passphrase()
                .expect_err("open")
                .to_string()
                .contains("chmod 600")
        );
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("chmod");
        assert_eq!(
            config
                .passphrase()
                .expect("read")
                .as_deref()
                .map(String::as_str),
            Some("correct horse battery")
        );
        std::fs::write(&file, "short\n").expect("written");
        assert!(config.passphrase().is_err());
    }

    #[test]
    fn a_passphrase_is_shown_nowhere() {
        let words = "correct horse battery";
        let config = with(words);
        let shown = toml::to_string(&config).expect("shown");
        assert!(shown.contains("passphrase = \"(not shown)\""), "{shown}");
        for text in [
            shown,
            format!("{config:?}"),
            format!("{:?}", config.validate()),
        ] {
            assert!(!text.contains(words), "{text}");
        }
    }
}
