//! Conditional requests. Of reads they are judged here, by RFC 9110's precedence; of writes they are
//! only parsed here and judged in the commit.

use engine_core::meta::{Condition, EtagMatch};
use s3s::dto::{ETagCondition, Timestamp};

/// The entity tags a condition names, bare: quotes and `W/` are dropped, lists are taken apart (s3s
/// keeps a list as one tag that contains the inner quotes).
pub(crate) fn tags(condition: &ETagCondition) -> Option<Vec<&str>> {
    let tag = condition.as_etag()?;
    Some(tag.value().split(',').map(bare).collect())
}

fn bare(part: &str) -> &str {
    let part = part.trim();
    part.strip_prefix("W/").unwrap_or(part).trim_matches('"')
}

fn matching(condition: &ETagCondition) -> EtagMatch {
    match tags(condition) {
        None => EtagMatch::Any,
        // A tag that is none of ours matches nothing.
        Some(tags) => EtagMatch::Tags(tags.iter().filter_map(|t| t.parse().ok()).collect()),
    }
}

/// A write's conditions.
pub(crate) fn write(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> Condition {
    #[cfg(sabotage)]
    if engine_types::sabotage("drop-if-none-match") {
        return Condition {
            if_match: if_match.map(matching),
            ..Condition::default()
        };
    }
    Condition {
        if_match: if_match.map(matching),
        if_none_match: if_none_match.map(matching),
        unchanged: None,
    }
}

/// A read's conditions, also those on a copy's source.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "they are the headers' names")]
pub(crate) struct Read {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

/// What a read's conditions say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Answer.
    Go,
    /// 304 (of a copy's source: 412).
    NotModified,
    /// 412.
    Failed,
}

impl Read {
    /// `modified`: in whole seconds. If-Match silences If-Unmodified-Since, If-None-Match silences
    /// If-Modified-Since.
    pub(crate) fn judge(&self, etag: &str, modified: &Timestamp) -> Verdict {
        #[cfg(sabotage)]
        if engine_types::sabotage("drop-read-conditions") {
            return Verdict::Go;
        }
        let names = |condition: &ETagCondition| {
            tags(condition).is_none_or(|tags| tags.iter().any(|t| t.eq_ignore_ascii_case(etag)))
        };
        let holds = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => names(condition),
            (None, Some(since)) => modified <= since,
            (None, None) => true,
        };
        if !holds {
            return Verdict::Failed;
        }
        let news = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => !names(condition),
            (None, Some(since)) => modified > since,
            (None, None) => true,
        };
        if news {
            Verdict::Go
        } else {
            Verdict::NotModified
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::time;
    use engine_types::Stamp;

    const TAG: &str = "9e107d9d372bb6826bd81d3542a419d6";

    fn condition(text: &str) -> ETagCondition {
        text.parse().expect(text)
    }

    #[test]
    fn tags_are_taken_apart() {
        for (text, expected) in [
            ("*", None),
            ("\"a\"", Some(vec!["a"])),
            ("W/\"a\"", Some(vec!["a"])),
            ("a", Some(vec!["a"])),
            ("\"a\", \"b\"", Some(vec!["a", "b"])),
            ("\"a\",W/\"b\"", Some(vec!["a", "b"])),
            ("\"\"", Some(vec![""])),
        ] {
            assert_eq!(tags(&condition(text)), expected, "{text}");
        }
    }

    #[test]
    fn write_conditions() {
        let both = write(Some(&condition(TAG)), Some(&condition("*")));
        let tag = TAG.parse().expect("tag");
        assert_eq!(both.if_match, Some(EtagMatch::Tags(vec![tag])));
        assert_eq!(both.if_none_match, Some(EtagMatch::Any));
        let strange = write(Some(&condition("ABCORZ")), None);
        assert_eq!(strange.if_match, Some(EtagMatch::Tags(vec![])));
    }

    #[test]
    fn precedence_of_read_conditions() {
        let (before, at, after) = (time(Stamp(1000)), time(Stamp(2000)), time(Stamp(3000)));
        let read = |m: Option<&str>,
                    n: Option<&str>,
                    since: Option<&Timestamp>,
                    un: Option<&Timestamp>| {
            let read = Read {
                if_match: m.map(condition),
                if_none_match: n.map(condition),
                if_modified_since: since.cloned(),
                if_unmodified_since: un.cloned(),
            };
            read.judge(TAG, &at)
        };
        for (verdict, expected) in [
            (read(None, None, None, None), Verdict::Go),
            (read(Some(TAG), None, None, None), Verdict::Go),
            (read(Some("*"), None, None, None), Verdict::Go),
            (read(Some("b"), None, None, None), Verdict::Failed),
            (read(None, None, None, Some(&before)), Verdict::Failed),
            (read(None, None, None, Some(&at)), Verdict::Go),
            (read(Some(TAG), None, None, Some(&before)), Verdict::Go),
            (read(Some("b"), None, None, Some(&after)), Verdict::Failed),
            (read(None, Some(TAG), None, None), Verdict::NotModified),
            (read(None, Some("*"), None, None), Verdict::NotModified),
            (read(None, Some("b"), None, None), Verdict::Go),
            (read(None, None, Some(&at), None), Verdict::NotModified),
            (read(None, None, Some(&before), None), Verdict::Go),
            (read(None, Some("b"), Some(&after), None), Verdict::Go),
            (
                read(None, Some(TAG), Some(&before), None),
                Verdict::NotModified,
            ),
            (read(Some("b"), Some(TAG), None, None), Verdict::Failed),
        ] {
            assert_eq!(verdict, expected);
        }
    }
}
