//! Debts that may only shrink: `conformance/ratchet.txt`, lines of `kind name count`.
//!
//! Who repays a debt lowers its line; nobody adds one without a reviewer seeing it in the diff. A
//! tool that rewrote the file by itself was turned down: it would raise as willingly as lower.

use crate::tree::root;
use std::collections::BTreeMap;

/// A record may stand this much above the truth before it must be lowered.
pub const SLACK_MAX: usize = 25;

/// The recorded debts of one kind, by name.
pub fn recorded(kind: &str) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(root().join("conformance/ratchet.txt")).unwrap_or_default();
    parse(&text, kind)
}

fn parse(text: &str, kind: &str) -> BTreeMap<String, usize> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let named = words.next()? == kind;
        let entry = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        named.then_some(entry)
    };
    text.lines().filter_map(line).collect()
}

/// What is wrong between the debts found and the debts recorded; empty where all is well.
pub fn complaints(
    kind: &str,
    found: &BTreeMap<String, usize>,
    recorded: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, count) in found {
        match recorded.get(name) {
            None => wrong.push(format!("new: {kind} {name} {count}")),
            Some(was) if count > was => {
                wrong.push(format!("grown: {kind} {name} {count} (was {was})"));
            }
            Some(was) if count + SLACK_MAX < *was => {
                wrong.push(format!(
                    "shrunk, lower its line: {kind} {name} {count} (was {was})"
                ));
            }
            Some(_) => {}
        }
    }
    let repaid = recorded.keys().filter(|name| !found.contains_key(*name));
    wrong.extend(repaid.map(|name| format!("repaid, take its line out: {kind} {name}")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debts(text: &str) -> BTreeMap<String, usize> {
        parse(text, "length")
    }

    #[test]
    fn a_debt_may_shrink_and_nothing_else() {
        let record = debts("# a comment\nlength a.rs 450\nlength b.rs 500\nother c.rs 9\n");
        assert_eq!(record.len(), 2);
        let with = |text: &str| complaints("length", &debts(text), &record);
        let slack = 500 - SLACK_MAX;
        let text = format!("length a.rs 450\nlength b.rs {slack}");
        assert!(with(&text).is_empty(), "the slack itself is allowed");
        assert_eq!(with("length a.rs 451\nlength b.rs 500").len(), 1, "grown");
        assert_eq!(
            with("length a.rs 450\nlength b.rs 474").len(),
            1,
            "one past the slack"
        );
        assert_eq!(with("length a.rs 450").len(), 1, "repaid");
        assert_eq!(
            with("length a.rs 450\nlength b.rs 500\nlength c.rs 401").len(),
            1,
            "new"
        );
    }
}
