//! What is refused, and that every setting is reached by file, environment, flag and document.

use super::*;

fn good() -> Config {
    Config {
        drives: vec!["/d/1".into(), "/d/2".into()],
        key_file: Some("/k/file".into()),
        ..Config::default()
    }
}

/// Refused, in the name of `setting`, once `spoil` is done to good settings.
fn complains(setting: &str, spoil: impl FnOnce(&mut Config)) {
    let mut config = good();
    spoil(&mut config);
    let error = config.validate().expect_err("refused");
    assert_eq!(error.setting, setting, "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    assert!(good().validate().is_ok());
    complains("drives", |c| c.drives = vec![]);
    complains("drives", |c| c.drives = vec!["/d".into(), "/d".into()]);
    complains("key_file", |c| c.key_file = None);
    complains("key_file", |c| c.passphrase_file = Some("/p".into()));
    complains("key_file", |c| c.key_file = Some("/d/1/key".into()));
    complains("credentials_file", |c| c.credentials_file = "/d/2/c".into());
    for inside in ["/d/1", "/d/1/witness", "/d"] {
        complains("witness_dir", |c| c.witness_dir = Some(inside.into()));
    }
    for bytes in [
        0,
        SEGMENT_BYTES_MIN - 4096,
        SEGMENT_BYTES_MIN + 1,
        SEGMENT_BYTES_MAX + 4096,
    ] {
        complains("segment_bytes", |c| c.segment_bytes = bytes);
    }
    complains("upload_buffer_bytes", |c| {
        c.upload_buffer_bytes = BUFFER_BUDGET_BYTES_MIN as u64 - 1;
    });
    let most = Config {
        scrub_days: SCRUB_DAYS_MAX,
        ..good()
    };
    assert!(most.validate().is_ok());
    complains("scrub_days", |c| c.scrub_days = SCRUB_DAYS_MAX + 1);
    complains("scrub_days", |c| c.scrub_days = 0);
    let least = Config {
        snapshot_log_bytes: SNAPSHOT_LOG_BYTES_MIN,
        ..good()
    };
    assert!(least.validate().is_ok());
    complains("snapshot_log_bytes", |c| {
        c.snapshot_log_bytes = SNAPSHOT_LOG_BYTES_MIN - 1;
    });
    let keyless = Tls {
        mode: TlsMode::Both,
        cert: None,
        key: None,
    };
    complains("tls.cert", |c| c.tls = keyless);
}

fn account(name: &str) -> Account {
    Account {
        name: name.into(),
        canonical_id: format!("{name}-id"),
        email: format!("{name}@example.com"),
        access_key: format!("{name}-key"),
        secret_key: "a secret of it".replace(' ', "-").into(),
    }
}

#[test]
fn an_account_is_whole_and_has_nothing_of_another() {
    let with = |second: Account| Config {
        accounts: vec![account("one"), second],
        ..good()
    };
    assert!(with(account("two")).validate().is_ok());
    let silent = |name: &str| Account {
        email: String::new(),
        ..account(name)
    };
    let config = Config {
        accounts: vec![silent("one"), silent("two")],
        ..good()
    };
    assert!(config.validate().is_ok(), "an e-mail is not needed");
    let spoiled: [fn(&mut Account); 8] = [
        |a| a.canonical_id = String::new(),
        |a| a.canonical_id = " ".into(),
        |a| a.canonical_id = account("one").canonical_id,
        |a| a.email = account("one").email,
        |a| a.access_key = account("one").access_key,
        |a| a.access_key = String::new(),
        |a| a.access_key = "a b".into(),
        |a| a.secret_key = "short".to_owned().into(),
    ];
    for spoil in spoiled {
        let mut second = account("two");
        spoil(&mut second);
        complains("accounts.two", |c| *c = with(second));
    }
    complains("accounts.one", |c| {
        *c = with(Account {
            name: "one".into(),
            ..account("two")
        });
    });
    complains("accounts.", |c| {
        *c = with(Account {
            name: String::new(),
            ..account("two")
        });
    });
}

#[test]
fn the_two_ports_are_two() {
    let listening = |s3: &str, admin: &str| Config {
        listen: s3.parse().expect("address"),
        admin_listen: admin.parse().expect("address"),
        ..good()
    };
    for (s3, admin) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("127.0.0.1:9000", "0.0.0.0:9000"),
        ("[::]:9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::]:9000"),
    ] {
        complains("admin_listen", |c| *c = listening(s3, admin));
    }
    for (s3, admin) in [
        ("127.0.0.1:9000", "127.0.0.1:9001"),
        ("127.0.0.1:9000", "127.0.0.2:9000"),
        ("0.0.0.0:9000", "[::1]:9000"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ] {
        assert!(listening(s3, admin).validate().is_ok(), "{s3} {admin}");
    }
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
        complains("region", |c| c.region = region.into());
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
        snapshot_log_bytes: 1,
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

/// How the document writes a default; what is nothing stands empty.
fn written(name: &str, value: Option<&toml::Value>) -> String {
    match value {
        Some(toml::Value::Integer(n)) if name.contains("bytes") && *n > 0 => {
            assert_eq!(n % (1 << 20), 0, "{name} is no whole number of MiB");
            format!("{} MiB", n >> 20)
        }
        Some(toml::Value::Integer(n)) => n.to_string(),
        Some(toml::Value::Boolean(on)) => format!("`{on}`"),
        Some(toml::Value::String(text)) => format!("`{text}`"),
        _ => String::new(),
    }
}

/// Setting → default, of the rows of the document's table.
fn told(document: &str) -> Vec<(String, String)> {
    let lines = document.lines().skip_while(|line| *line != "## Settings");
    let lines = lines.take_while(|line| *line != "## The admin port");
    let rows = lines.filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let each = rows.flat_map(|(names, rest)| {
        let default = rest.split('|').next().unwrap_or_default().trim();
        let names: Vec<&str> = names.split("`, `").collect();
        let mut defaults = default.split(", ");
        let one = |name: &str| (name.to_owned(), defaults.next().unwrap_or("").to_owned());
        names.into_iter().map(one).collect::<Vec<_>>()
    });
    each.collect()
}

#[test]
fn the_document_tells_every_default() {
    let defaults = toml::Value::try_from(Config::default()).expect("a table");
    let told = told(include_str!("../../../../docs/OPERATIONS.md"));
    for setting in SETTINGS {
        let value = setting
            .name
            .split('.')
            .try_fold(&defaults, |at, name| at.get(name));
        let wanted = match setting.name {
            "witness_dir" => {
                let beside = Config::default().witness_path();
                let name = beside.file_name().expect("a name");
                format!("`{}` beside `credentials_file`", name.display())
            }
            name => written(name, value),
        };
        let row = told.iter().find(|(name, _)| name == setting.name);
        let row = row.map(|(_, default)| default.as_str());
        assert_eq!(row, Some(wanted.as_str()), "{}", setting.name);
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
