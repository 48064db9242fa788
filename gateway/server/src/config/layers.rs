//! Laying file, environment and flags over the defaults.

use super::settings::Kind;
use super::{Config, ConfigError, SETTINGS};
use std::path::PathBuf;
use toml::{Table, Value};

/// Variables that are no settings: secrets of the first start, and what picks the file.
const OTHER_VARIABLES: &[&str] = &[
    "DATAMESH_CONFIG",
    "DATAMESH_ADMIN",
    "DATAMESH_ROOT_ACCESS_KEY",
    "DATAMESH_ROOT_SECRET_KEY",
    #[cfg(sabotage)]
    "DATAMESH_SABOTAGE",
];

/// Flags of the command line that are settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Flags {
    /// Settings file (TOML).
    #[arg(long, env = "DATAMESH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A drive's directory; repeat for each. Replaces the list of the file.
    #[arg(long = "drive", value_name = "PATH")]
    pub(crate) drives: Vec<PathBuf>,
    /// Address of the S3 port.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Any other setting: `--set tls.mode=both`. Lists are separated by commas.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

/// The settings in force. `variables` is the process's environment.
pub(crate) fn load(
    flags: &Flags,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let table = table(flags, variables)?;
    let config: Config = Value::Table(table)
        .try_into()
        .map_err(|e: toml::de::Error| {
            let (setting, problem) = named(&e);
            ConfigError::new(&setting, problem)
        })?;
    config.validate()?;
    Ok(config)
}

/// File, environment and flags laid over each other.
pub(super) fn table(
    flags: &Flags,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Table, ConfigError> {
    let mut table = match &flags.config {
        None => Table::new(),
        Some(path) => {
            let wrong =
                |e: String| ConfigError::new("--config", format!("{}: {e}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
            text.parse::<Table>()
                .map_err(|e| wrong(one_line(e.message())))?
        }
    };
    for (name, text) in variables.filter(|(name, _)| name.starts_with("DATAMESH_")) {
        match SETTINGS.iter().find(|s| s.variable() == name) {
            Some(setting) => put(&mut table, setting.name, parse(&name, setting.kind, &text)?)?,
            None if OTHER_VARIABLES.contains(&name.as_str()) => {}
            None => {
                return Err(ConfigError::new(
                    &name,
                    "no such setting; see `datamesh config show`",
                ));
            }
        }
    }
    for pair in &flags.set {
        let (name, text) = pair.split_once('=').ok_or_else(|| {
            // Not repeated: it may be a secret.
            ConfigError::new("--set", "write NAME=VALUE")
        })?;
        let setting = SETTINGS
            .iter()
            .find(|s| s.name == name)
            .ok_or_else(|| ConfigError::new(name, "no such setting; see `datamesh config show`"))?;
        if setting.kind == Kind::Secret {
            let text = format!(
                "not by flag, which every user of the machine sees; set {}",
                setting.variable()
            );
            return Err(ConfigError::new(name, text));
        }
        put(&mut table, name, parse(name, setting.kind, text)?)?;
    }
    if let Some(listen) = &flags.listen {
        put(&mut table, "listen", Value::String(listen.clone()))?;
    }
    if !flags.drives.is_empty() {
        let drives = flags
            .drives
            .iter()
            .map(|d| Value::String(d.display().to_string()))
            .collect();
        put(&mut table, "drives", Value::Array(drives))?;
    }
    Ok(table)
}

fn parse(name: &str, kind: Kind, text: &str) -> Result<Value, ConfigError> {
    Ok(match kind {
        Kind::Text | Kind::Secret => Value::String(text.into()),
        Kind::Number => Value::Integer(
            text.parse()
                .map_err(|_e| ConfigError::new(name, format!("{text}: not a whole number")))?,
        ),
        Kind::Switch => Value::Boolean(
            text.parse()
                .map_err(|_e| ConfigError::new(name, format!("{text}: write true or false")))?,
        ),
        Kind::List => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .map(|t| Value::String(t.into()))
                .collect(),
        ),
    })
}

/// Sets a dotted name.
fn put(table: &mut Table, name: &str, value: Value) -> Result<(), ConfigError> {
    match name.split_once('.') {
        None => {
            table.insert(name.into(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => put(inner, rest, value),
                _ => Err(ConfigError::new(section, "is a section")),
            }
        }
    }
}

/// Which setting a deserialisation error is about, and what is wrong, in one line.
fn named(error: &toml::de::Error) -> (String, String) {
    let text = error.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or("malformed").to_owned();
    let path = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("in `"))
        .and_then(|l| l.strip_suffix('`'));
    let quoted = first
        .split('`')
        .nth(1)
        .filter(|_| first.starts_with("unknown field"));
    (
        path.or(quoted).unwrap_or("config").to_owned(),
        one_line(&first),
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
        let flags = Flags {
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            ..Flags::default()
        };
        load(
            &flags,
            variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    const BASE: [(&str, &str); 2] = [
        ("DATAMESH_DRIVES", "/d/1,/d/2"),
        ("DATAMESH_KEY_FILE", "/k"),
    ];

    #[test]
    fn flags_win_over_environment() {
        let mut variables = BASE.to_vec();
        variables.push(("DATAMESH_REGION", "eu-west-1"));
        assert_eq!(with(&variables, &[]).expect("valid").region, "eu-west-1");
        assert_eq!(
            with(&variables, &["region=ap-1"]).expect("valid").region,
            "ap-1"
        );
        assert_eq!(with(&variables, &[]).expect("valid").drives.len(), 2);
    }

    #[test]
    fn every_setting_can_be_set_by_its_variable_name() {
        let shown = Value::try_from(Config {
            key_file: Some("/k".into()),
            ..Config::default()
        })
        .expect("shown");
        for setting in SETTINGS {
            let top = setting.name.split('.').next().unwrap_or_default();
            let optional = ["passphrase_file", "passphrase", "witness_dir"];
            assert!(
                shown.get(top).is_some() || optional.contains(&top),
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn the_wrong_setting_is_named() {
        for (extra, name) in [
            (("DATAMESH_NO_SUCH", "1"), "DATAMESH_NO_SUCH"),
            (
                ("DATAMESH_SHUTDOWN_DRAIN_S", "soon"),
                "DATAMESH_SHUTDOWN_DRAIN_S",
            ),
            (
                ("DATAMESH_POST_FORM_SIGV2", "yes"),
                "DATAMESH_POST_FORM_SIGV2",
            ),
        ] {
            let mut variables = BASE.to_vec();
            variables.push(extra);
            assert_eq!(with(&variables, &[]).expect_err("refused").setting, name);
        }
        assert_eq!(
            with(&BASE, &["nope=1"]).expect_err("refused").setting,
            "nope"
        );
        let mut variables = BASE.to_vec();
        variables.push(("DATAMESH_LISTEN", "nowhere"));
        let error = with(&variables, &[]).expect_err("refused").to_string();
        assert!(error.contains("listen"), "{error}");
    }
}
