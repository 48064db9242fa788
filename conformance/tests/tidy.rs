//! The house rules that a machine can check. `docs/STYLE.md` gives the reasons.

use conformance::ratchet::{complaints, recorded};
use conformance::tree::{File, code_lines, files, is_test_file, split_tests};
use std::collections::{BTreeMap, BTreeSet};

/// A file is one idea; longer ones are recorded debts.
const FILE_LINES_MAX: usize = 400;

/// What is read for paths of machines.
const TEXTS: [&str; 12] = [
    ".rs",
    ".toml",
    ".md",
    ".py",
    ".sh",
    ".txt",
    ".yml",
    ".yaml",
    "Makefile",
    "Dockerfile",
    ".mjs",
    ".go",
];

/// Left-overs. Spelled in halves, so that this file does not find itself.
const LEFT_OVERS: &[(&str, &str)] = &[
    ("todo", "!("),
    ("unimplemented", "!("),
    ("dbg", "!("),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("HA", "CK:"),
    ("#[ign", "ore"),
];

/// Paths of some machine.
const MACHINE: &[(&str, &str)] = &[
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/Us", "ers/"),
    ("/mn", "t/c/"),
];

fn banned<'a>(line: &str, words: &'a [(&'a str, &'a str)]) -> Option<String> {
    words
        .iter()
        .map(|(a, b)| format!("{a}{b}"))
        .find(|word| line.contains(word.as_str()))
}

fn fail_if_any(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}\n  {}", wrong.join("\n  "));
}

fn rust() -> Vec<File> {
    let found = files(&[".rs"]);
    assert!(found.len() > 50, "the repository's files are found");
    found
}

#[test]
fn each_file_says_what_it_is_in_its_first_line() {
    let silent: Vec<_> = rust()
        .into_iter()
        .filter(|f| !f.text.starts_with("//! "))
        .map(|f| f.path)
        .collect();
    fail_if_any(&silent, "the first line of a .rs file is its //! header:");
}

#[test]
fn files_stay_short() {
    let long = |f: &File| f.text.lines().count();
    let found: BTreeMap<String, usize> = rust()
        .iter()
        .filter(|f| long(f) > FILE_LINES_MAX)
        .map(|f| (f.path.clone(), long(f)))
        .collect();
    let wrong = complaints("length", &found, &recorded("length"));
    fail_if_any(
        &wrong,
        "files over 400 lines are debts in conformance/ratchet.txt that only shrink:",
    );
}

#[test]
fn nothing_is_left_over() {
    let mut wrong = Vec::new();
    for file in rust() {
        for (number, line) in file.text.lines().enumerate() {
            let found = banned(line, LEFT_OVERS);
            wrong.extend(found.map(|w| format!("{}:{}: {w}", file.path, number + 1)));
        }
    }
    fail_if_any(&wrong, "finish it or say it in an issue:");
}

#[test]
fn no_path_of_a_machine_is_in_the_repository() {
    let mut wrong = Vec::new();
    for file in files(&TEXTS) {
        for (number, line) in file.text.lines().enumerate() {
            let found = banned(line, MACHINE).filter(|word| !is_url_or_home_word(line, word));
            wrong.extend(found.map(|w| format!("{}:{}: {w}", file.path, number + 1)));
        }
    }
    fail_if_any(&wrong, "paths are relative to the repository, or settings:");
}

/// `example.com/home/x` is an address, and `HOME/work/` a variable: a machine's path begins a word.
fn is_url_or_home_word(line: &str, word: &str) -> bool {
    line.match_indices(word).all(|(at, _)| {
        line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || "._-}*".contains(c))
    })
}

#[test]
fn a_lint_is_silenced_with_a_reason() {
    let mut wrong = Vec::new();
    for file in rust() {
        for kind in ["allow(", "expect("] {
            for opening in ["#[", "#![", ", "] {
                wrong.extend(bare(&file, &format!("{opening}{kind}")));
            }
        }
    }
    fail_if_any(
        &wrong,
        "#[expect(lint, reason = \"…\")]; allow only where expect cannot hold:",
    );
}

/// Attributes that begin so and name no reason. `, ` opens those within `cfg_attr`.
fn bare(file: &File, opening: &str) -> Vec<String> {
    let within = opening.starts_with(',');
    let places = file.text.match_indices(opening).filter(|(at, _)| {
        let line = file.text[..*at]
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .trim_start();
        if within {
            line.contains("cfg_attr(")
        } else {
            line.is_empty()
        }
    });
    let silent = places.filter(|(at, _)| {
        let end = file.text[*at..]
            .find(")]")
            .map_or(file.text.len(), |n| at + n);
        !file.text[*at..end].contains("reason")
    });
    silent
        .map(|(at, _)| {
            format!(
                "{}:{}",
                file.path,
                1 + file.text[..at].matches('\n').count()
            )
        })
        .collect()
}

#[test]
fn limits_are_named_units_last() {
    let mut wrong = Vec::new();
    for file in rust() {
        for (number, line) in code_lines(&file.text) {
            let Some(name) = const_name(line) else {
                continue;
            };
            if ["MAX_", "MIN_"].iter().any(|p| name.starts_with(p)) || name.contains("_MAX_") {
                wrong.push(format!("{}:{number}: {name}", file.path));
            }
        }
    }
    fail_if_any(&wrong, "SHARD_BYTES_MAX, not MAX_SHARD_BYTES:");
}

#[test]
fn limits_are_tested() {
    let files = rust();
    // A crate's folder: what stands before its `src` or `tests`.
    let home = |path: &str| {
        let names = path
            .split('/')
            .take_while(|n| !["src", "tests", "benches"].contains(n));
        names.collect::<Vec<_>>().join("/")
    };
    let mut tested: BTreeSet<(String, String)> = BTreeSet::new();
    for file in &files {
        for word in split_tests(file)
            .1
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        {
            if word.ends_with("_MAX") {
                tested.insert((home(&file.path), word.to_owned()));
            }
        }
    }
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|f| !is_test_file(&f.path)) {
        let limits = code_lines(split_tests(file).0).filter_map(|(_, l)| const_name(l));
        for name in limits.filter(|n| n.ends_with("_MAX")) {
            if !tested.contains(&(home(&file.path), name.to_owned())) {
                found.insert(format!("{}:{name}", home(&file.path)), 1);
            }
        }
    }
    let wrong = complaints("untested-limit", &found, &recorded("untested-limit"));
    fail_if_any(
        &wrong,
        "a limit is tested at it and one past it, by its name:",
    );
}

/// `X` of `const X: …`, with or without `pub`.
fn const_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|w| w.starts_with("pub"));
    (words.next()? == "const")
        .then(|| words.next())
        .flatten()
        .map(|w| w.trim_end_matches(':'))
}
