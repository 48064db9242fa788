//! What is refused, and that every setting is reached by file, environment, flag and document.

use super::*;

fn good() -> Config {
    Config {
        drives: vec!["/d/1".into(), "/d/2".into()],
        key_file: Some("/k/file".into()),
        ..Config::default()
    }
}

fn complains(config: &Config, setting: &str) {
    let error = config.validate().expect_err("refused");
    assert_eq!(error.setting, setting, "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    assert!(good().validate().is_ok());
    complains(
        &Config {
            drives: vec![],
            ..good()
        },
        "drives",
    );
    complains(
        &Config {
            drives: vec!["/d".into(), "/d".into()],
            ..good()
        },
        "drives",
    );
    complains(
        &Config {
            key_file: None,
            ..good()
        },
        "key_file",
    );
    complains(
        &Config {
            passphrase_file: Some("/p".into()),
            ..good()
        },
        "key_file",
    );
    complains(
        &Config {
            key_file: Some("/d/1/key".into()),
            ..good()
        },
        "key_file",
    );
    complains(
        &Config {
            credentials_file: "/d/2/c".into(),
            ..good()
        },
        "credentials_file",
    );
    complains(
        &Config {
            witness_dir: Some("/w".into()),
            ..good()
        },
        "witness_dir",
    );
    complains(
        &Config {
            segment_bytes: 4096,
            ..good()
        },
        "segment_bytes",
    );
    complains(
        &Config {
            upload_buffer_bytes: (32 << 20) - 1,
            ..good()
        },
        "upload_buffer_bytes",
    );
    assert!(
        Config {
            scrub_days: SCRUB_DAYS_MAX,
            ..good()
        }
        .validate()
        .is_ok()
    );
    complains(
        &Config {
            scrub_days: SCRUB_DAYS_MAX + 1,
            ..good()
        },
        "scrub_days",
    );
    complains(
        &Config {
            scrub_days: 0,
            ..good()
        },
        "scrub_days",
    );
    complains(
        &Config {
            tls: Tls {
                mode: TlsMode::Both,
                cert: None,
                key: None,
            },
            ..good()
        },
        "tls.cert",
    );
}

#[test]
fn a_region_at_the_limit_and_one_past_it() {
    let with = |region: &str| Config {
        region: region.into(),
        ..good()
    };
    for region in ["us-east-1", "a", &"r".repeat(REGION_BYTES_MAX)] {
        assert!(with(region).validate().is_ok(), "{region}");
    }
    let long = "r".repeat(REGION_BYTES_MAX + 1);
    for region in ["", "US", "a/b", "a b", "-a", "a-", "é", &long] {
        complains(&with(region), "region");
    }
}

/// Every field with a value. No `..`: whoever adds a field must add it here.
fn full() -> Config {
    Config {
        listen: ([0, 0, 0, 0], 9000).into(),
        admin_listen: ([127, 0, 0, 1], 9001).into(),
        drives: vec!["/d/1".into()],
        credentials_file: "c".into(),
        key_file: Some("/k".into()),
        passphrase_file: Some("/p".into()),
        passphrase: Some("words".to_owned().into()),
        witness_dir: Some("/w".into()),
        region: "r".into(),
        domains: vec!["d".into()],
        zone: "z".into(),
        tls: Tls {
            mode: TlsMode::On,
            cert: Some("/c".into()),
            key: Some("/k".into()),
        },
        log_format: LogFormat::Text,
        log_level: "info".into(),
        shutdown_drain_s: 1,
        trusted_proxies: vec!["10.0.0.0/8".into()],
        default_object_ownership: Ownership::ObjectWriter,
        block_public_access_default: true,
        post_form_sigv2: true,
        sse_c_over_http: true,
        storage_classes_extra: vec!["c".into()],
        kms_keys: vec!["k".into()],
        upload_buffer_bytes: 1,
        segment_bytes: 1,
        reserve_bytes: 1,
        scrub_days: 1,
        scrub_bytes_per_s_min: 1,
        pack_age_s: 1,
        pack_bytes_min: 1,
        accounts: vec![Account {
            name: "n".into(),
            canonical_id: "i".into(),
            email: "e".into(),
            access_key: "a".into(),
            secret_key: "s".to_owned().into(),
        }],
    }
}

/// Dotted names of everything in a table.
fn names(table: &toml::Table, above: &str, into: &mut Vec<String>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => names(inner, &format!("{above}{name}."), into),
            _ => into.push(format!("{above}{name}")),
        }
    }
}

#[test]
fn every_setting_has_a_variable_a_flag_and_a_line_in_the_documents() {
    let mut fields = Vec::new();
    names(
        &toml::Table::try_from(full()).expect("a table"),
        "",
        &mut fields,
    );
    let document = include_str!("../../../../docs/OPERATIONS.md");
    for field in &fields {
        // Secrets of others do not belong into an environment.
        let for_the_file_alone = field == "accounts";
        let named = if for_the_file_alone {
            "`[[accounts]]`".into()
        } else {
            format!("`{field}`")
        };
        assert!(
            document.contains(&named),
            "{field} is not in docs/OPERATIONS.md"
        );
        let known = SETTINGS.iter().any(|s| s.name == field);
        assert!(
            known != for_the_file_alone,
            "{field}: no variable and no flag reach it"
        );
    }
    for setting in SETTINGS {
        assert!(
            fields.iter().any(|f| f == setting.name),
            "{} is no field",
            setting.name
        );
    }
}

/// A value other than the default that each setting takes.
fn sample(setting: &settings::Setting) -> &'static str {
    match (setting.name, setting.kind) {
        ("listen" | "admin_listen", _) => "127.0.0.1:9",
        ("log_format", _) => "json",
        ("default_object_ownership", _) => "ObjectWriter",
        ("tls.mode", _) => "both",
        (_, Kind::Text | Kind::Secret) => "some-text-for-it",
        (_, Kind::Number) => "268435456",
        (_, Kind::Switch) => "true",
        (_, Kind::List) => "one,two",
    }
}

#[test]
fn file_environment_and_flag_say_the_same() {
    for setting in SETTINGS {
        let text = sample(setting);
        let variables = [(setting.variable(), text.to_owned())];
        let by_variable =
            layers::table(&Flags::default(), variables.into_iter()).expect("variable");
        assert_eq!(by_variable.len(), 1, "{}", setting.name);
        let parsed: Result<Config, _> = toml::Value::Table(by_variable.clone()).try_into();
        assert!(parsed.is_ok(), "{}: {parsed:?}", setting.name);
        let flags = Flags {
            set: vec![format!("{}={text}", setting.name)],
            ..Flags::default()
        };
        let by_flag = layers::table(&flags, std::iter::empty());
        if setting.kind == Kind::Secret {
            // Every user of the machine sees flags.
            assert_eq!(by_flag.expect_err("refused").setting, setting.name);
        } else {
            assert_eq!(by_flag.expect("flag"), by_variable, "{}", setting.name);
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("c.toml");
        std::fs::write(&file, toml::to_string(&by_variable).expect("toml")).expect("written");
        let flags = Flags {
            config: Some(file),
            ..Flags::default()
        };
        assert_eq!(
            layers::table(&flags, std::iter::empty()).expect("file"),
            by_variable
        );
    }
}
