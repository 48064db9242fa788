//! `docs/S3.md` lists every operation of S3 with what becomes of it, and tells the truth.
//!
//! Its table has a line for each operation that the S3 trait knows: `| PutObject | yes | … |`. The
//! second cell is `yes` (handled), `unconfigured` (a read that answers AWS's not-configured code or an
//! empty document) or `501`. The code's side is the table in `gateway/s3/src/service.rs`.

use conformance::arrows::source_of;
use conformance::tree::root;
use std::collections::BTreeMap;
use std::fs::read_to_string;

const SERVICE: &str = "gateway/s3/src/service.rs";

/// `put_object` → `PutObject`.
fn pascal(name: &str) -> String {
    let word = |w: &str| {
        w.chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .chain(w.chars().skip(1))
            .collect::<String>()
    };
    name.split('_').map(word).collect()
}

/// Operation → `yes` or `unconfigured`, from lines of `name => module::function, …`.
fn served(service: &str) -> BTreeMap<String, &'static str> {
    let line = |line: &str| {
        let (name, handler) = line.trim().split_once(" => ")?;
        let plain = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let state = if handler.starts_with("unconfigured::") {
            "unconfigured"
        } else {
            "yes"
        };
        plain.then(|| (pascal(name), state))
    };
    service.lines().filter_map(line).collect()
}

/// Every operation of the trait, from the library's source.
fn operations(library: &str) -> Vec<String> {
    let names = library
        .lines()
        .filter_map(|l| l.trim().strip_prefix("async fn "));
    names
        .filter_map(|l| l.split(['(', '<']).next())
        .map(pascal)
        .collect()
}

/// First cell → second cell of every table line.
fn documented(doc: &str) -> Vec<(String, String)> {
    let cell = |text: Option<&str>| text.map(|t| t.trim().trim_matches('`').to_owned());
    let line = |line: &str| {
        let mut cells = line.trim().strip_prefix('|')?.split('|');
        Some((cell(cells.next())?, cell(cells.next())?))
    };
    doc.lines().filter_map(line).collect()
}

#[test]
fn every_operation_stands_in_the_table_as_the_code_has_it() {
    let service = read_to_string(root().join(SERVICE)).expect("the table of handlers");
    let library = source_of("s3s")
        .expect("s3s is a dependency")
        .join("src/s3_trait.rs");
    let library = read_to_string(library).expect("its trait");
    let (served, all) = (served(&service), operations(&library));
    assert!(
        served.len() > 20 && all.len() > 90,
        "{} and {} are found",
        served.len(),
        all.len()
    );
    let doc = read_to_string(root().join("docs/S3.md")).expect("docs/S3.md");
    let lines = documented(&doc);
    let mut wrong = Vec::new();
    for operation in &all {
        let state = served.get(operation).copied().unwrap_or("501");
        let said: Vec<_> = lines
            .iter()
            .filter(|(name, _)| name == operation)
            .map(|(_, s)| s.as_str())
            .collect();
        if said != [state] {
            wrong.push(format!(
                "| {operation} | {state} | is wanted once; docs/S3.md has {said:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readers_read() {
    let code = "    put_object => put_object::put, A, B;\n    get_bucket_acl => unconfigured::acl, A, B;\n Some(x) => y,";
    assert_eq!(
        served(code),
        [
            ("GetBucketAcl".into(), "unconfigured"),
            ("PutObject".into(), "yes")
        ]
        .into()
    );
    let doc = "| operation | state |\n|---|---|\n| `PutObject` | yes | all |\n";
    assert!(documented(doc).contains(&("PutObject".into(), "yes".into())));
}
