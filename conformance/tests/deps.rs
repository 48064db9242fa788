//! The arrows between crates, and which crate alone knows which library.

use conformance::arrows::{closure, workspace};
use conformance::tree::{code_lines, files, split_tests};
use std::collections::BTreeSet;

/// Crate → crates of ours that its product part may name. Who adds a crate adds its line.
const ARROWS: &[(&str, &[&str])] = &[
    ("engine-types", &[]),
    ("engine-tenancy", &["engine-types"]),
    ("engine-core", &["engine-types"]),
    ("engine-disk", &["engine-types", "engine-core"]),
    (
        "engine-meta",
        &["engine-types", "engine-core", "engine-tenancy"],
    ),
    ("engine-node", &["engine-types", "engine-core"]),
    (
        "engine-sim",
        &[
            "engine-types",
            "engine-core",
            "engine-tenancy",
            "engine-disk",
            "engine-meta",
            "engine-node",
        ],
    ),
    ("gateway-policy", &[]),
    (
        "gateway-s3",
        &[
            "engine-types",
            "engine-core",
            "engine-tenancy",
            "engine-node",
            "gateway-policy",
        ],
    ),
    (
        "gateway-server",
        &[
            "engine-types",
            "engine-core",
            "engine-tenancy",
            "engine-node",
            "engine-disk",
            "engine-meta",
            "gateway-s3",
            "bench",
        ],
    ),
    ("conformance", &[]),
    ("bench", &["engine-types", "engine-core"]),
    ("recorder", &[]),
    (
        "fuzz",
        &[
            "engine-types",
            "engine-core",
            "engine-disk",
            "engine-meta",
            "engine-node",
            "engine-sim",
            "gateway-policy",
            "gateway-s3",
        ],
    ),
    ("powercut", &["bench", "recorder"]),
];

/// Library → the crates of ours that alone may name it, tests included.
const ONLY: &[(&str, &[&str])] = &[
    ("s3s", &["gateway-s3"]),
    ("quick-xml", &["gateway-s3"]),
    ("openraft", &["engine-meta"]),
    ("fjall", &["engine-meta", "engine-disk"]),
    ("libp2p", &["engine-net"]),
    ("reed-solomon-simd", &["engine-core"]),
    ("argon2", &["engine-node"]),
    ("hpke", &["engine-node"]),
    ("axum", &["gateway-server"]),
    ("tokio-rustls", &["gateway-server"]),
];

/// They decide; time, chance and bytes come in as arguments.
const PURE: &[&str] = &[
    "engine-types",
    "engine-tenancy",
    "engine-core",
    "gateway-policy",
];

/// No pure crate may have these anywhere below it.
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "mio",
    "socket2",
    "rand",
    "uuid",
    "ulid",
    "rustix",
    "jiff",
    "chrono",
    "time",
    "tempfile",
    "fjall",
    "hyper",
];

/// No engine crate may have these anywhere below it: it knows neither HTTP nor XML.
const PROTOCOL: &[&str] = &["hyper", "http", "axum", "s3s", "quick-xml", "tower"];

/// What a pure crate's source must not say outside its tests.
const IMPURE_WORDS: &[&str] = &[
    "SystemTime",
    "Instant::",
    "std::fs",
    "std::thread",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "SystemRandom",
    "thread_rng",
    "tokio::",
];

#[test]
fn crates_of_ours_point_where_the_table_says() {
    let packages = workspace().expect("cargo metadata");
    let ours: BTreeSet<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} has no line in ARROWS", package.name));
            continue;
        };
        let named = package.direct();
        let extra = named
            .iter()
            .filter(|d| ours.contains(*d) && !allowed.contains(*d));
        wrong.extend(extra.map(|d| format!("{} must not name {d}", package.name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_library_is_known_where_the_table_says() {
    let mut wrong = Vec::new();
    for package in workspace().expect("cargo metadata") {
        for dependency in &package.dependencies {
            let rule = ONLY.iter().find(|(library, _)| *library == dependency.name);
            if rule.is_some_and(|(_, who)| !who.contains(&package.name.as_str())) {
                wrong.push(format!(
                    "{} must not name {}",
                    package.name, dependency.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The ways from `crates` to what is banned below them.
fn below(crates: &[&str], banned: &[&str]) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for name in crates {
        let all = closure(name)?;
        wrong.extend(banned.iter().filter_map(|b| all.get(*b)).cloned());
    }
    Ok(wrong)
}

#[test]
fn pure_crates_have_no_runtime_clock_or_chance_below_them() {
    let wrong = below(PURE, IMPURE).expect("cargo tree");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_engine_knows_neither_http_nor_xml() {
    let packages = workspace().expect("cargo metadata");
    let engine: Vec<&str> = packages
        .iter()
        .map(|p| p.name.as_str())
        .filter(|n| n.starts_with("engine-"))
        .collect();
    assert!(engine.len() >= 7, "the engine's crates are found");
    let wrong = below(&engine, PROTOCOL).expect("cargo tree");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_tree_is_seen_at_all() {
    let all = closure("gateway-s3").expect("cargo tree");
    assert!(
        all.contains_key("s3s") && all.contains_key("engine-core"),
        "{:?}",
        all.keys()
    );
    assert_eq!(
        all.get("gateway-policy").map(String::as_str),
        Some("gateway-s3 → gateway-policy")
    );
}

#[test]
fn pure_sources_name_no_clock_file_socket_or_chance() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files(&[".rs"]) {
        let home = PURE.iter().any(|p| {
            file.path
                .starts_with(&format!("{}/src/", p.replacen('-', "/", 1)))
        });
        if !home {
            continue;
        }
        seen += 1;
        for (number, line) in code_lines(split_tests(&file).0) {
            let found = IMPURE_WORDS.iter().filter(|w| line.contains(*w));
            wrong.extend(found.map(|w| format!("{}:{number}: {w}", file.path)));
        }
    }
    assert!(seen >= 20, "the pure crates' files are found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
