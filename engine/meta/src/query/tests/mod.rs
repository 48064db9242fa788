//! Listings: against a naive one, at their limits, and what they cost.

use crate::query::answer;
use crate::testing::{BEGIN, Counting, Partition, key};
use engine_core::meta::{ListQuery, Query, Refusal, Reply, Versioning};
use engine_types::{BucketId, UploadId, VersionId};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeSet;

fn page(prefix: &str, delimiter: &str, after: Option<&str>, limit: u32) -> ListQuery {
    ListQuery {
        prefix: prefix.into(),
        delimiter: delimiter.into(),
        after: after.map(Into::into),
        limit,
    }
}

/// Objects and prefixes as one list, and what follows.
fn list(p: &Partition, query: ListQuery) -> (Vec<String>, Option<String>) {
    let Reply::List(page) = p.ask(&Query::List(p.bucket(1), query)) else {
        panic!()
    };
    let objects = page.objects.iter().map(|(key, _)| key.to_string());
    let mut lines: Vec<String> = objects.chain(page.prefixes.iter().cloned()).collect();
    lines.sort_unstable();
    (lines, page.next)
}

fn store(names: &[&str]) -> Partition {
    let mut p = Partition::with_buckets(2);
    for name in names {
        p.put(1, name, 1, 1);
    }
    p.put(2, "elsewhere", 1, 1);
    p
}

#[test]
fn rolls_up_and_tells_what_follows() {
    let p = store(&["a", "a-", "a/", "a/x", "a/y/z", "a0", "b/c/d", "b/c/e"]);
    let cases: &[(ListQuery, &[&str], Option<&str>)] = &[
        (
            page("", "", None, 100),
            &["a", "a-", "a/", "a/x", "a/y/z", "a0", "b/c/d", "b/c/e"],
            None,
        ),
        (
            page("", "", None, 8),
            &["a", "a-", "a/", "a/x", "a/y/z", "a0", "b/c/d", "b/c/e"],
            None,
        ),
        (
            page("", "", None, 7),
            &["a", "a-", "a/", "a/x", "a/y/z", "a0", "b/c/d"],
            Some("b/c/d"),
        ),
        (page("", "", None, 0), &[], None),
        (
            page("", "/", None, 100),
            &["a", "a-", "a/", "a0", "b/"],
            None,
        ),
        (page("", "/", None, 5), &["a", "a-", "a/", "a0", "b/"], None),
        (page("", "/", None, 3), &["a", "a-", "a/"], Some("a/")),
        (page("", "/", Some("a/"), 3), &["a0", "b/"], None),
        (page("", "/", Some("a0"), 1), &["b/"], None),
        (page("", "/", Some("a/x"), 9), &["a/", "a0", "b/"], None),
        (page("", "/", Some("a/y/z"), 9), &["a0", "b/"], None),
        (page("a/", "/", None, 9), &["a/", "a/x", "a/y/"], None),
        (page("a/", "/", Some("a/"), 9), &["a/x", "a/y/"], None),
        (page("a/", "/", Some("a/y/"), 9), &[], None),
        (page("a/", "", Some("a"), 9), &["a/", "a/x", "a/y/z"], None),
        (page("b/", "/", Some("a"), 1), &["b/c/"], None),
        (page("b", "c/", None, 9), &["b/c/"], None),
        (
            page("", "/c/", None, 9),
            &["a", "a-", "a/", "a/x", "a/y/z", "a0", "b/c/"],
            None,
        ),
        (
            page("a", "a", None, 9),
            &["a", "a-", "a/", "a/x", "a/y/z", "a0"],
            None,
        ),
        (page("c", "/", None, 9), &[], None),
        (page("", "", Some("zz"), 9), &[], None),
    ];
    for (query, lines, next) in cases {
        let want = (
            lines.iter().map(ToString::to_string).collect(),
            next.map(Into::into),
        );
        assert_eq!(list(&p, query.clone()), want, "{query:?}");
    }
}

#[test]
fn a_stale_bucket_is_not_listed() {
    let mut p = store(&["a"]);
    let old = p.bucket(1);
    p.versioning(1, Versioning::Enabled);
    let reply = p.ask(&Query::List(old, page("", "", None, 1)));
    assert_eq!(reply, Reply::Refused(Refusal::StaleBucket));
}

/// Rows that answering `query` reads.
fn cost(p: &Partition, query: &Query) -> usize {
    let counting = Counting {
        rows: &p.rows,
        read: Cell::new(0),
    };
    answer(&counting, query, 0).unwrap();
    counting.read.get()
}

#[test]
fn a_page_costs_what_it_shows() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    for group in 0..20 {
        for n in 0..100 {
            p.put(1, &format!("{group:02}/{n:03}"), 1, 1);
        }
    }
    for _ in 0..200 {
        p.put(1, "50", 1, 1);
    }
    let bucket = p.bucket(1);
    // The bucket's row, the entries, and one row more to know whether more follow.
    assert_eq!(cost(&p, &Query::List(bucket, page("", "", None, 50))), 52);
    assert_eq!(cost(&p, &Query::List(bucket, page("", "/", None, 10))), 12);
    assert_eq!(
        cost(
            &p,
            &Query::List(bucket, page("07/", "", Some("07/050"), 10))
        ),
        12
    );
    assert_eq!(
        cost(&p, &Query::List(bucket, page("", "/", Some("03/"), 100))),
        1 + 16 + 1
    );
    let versions = |page, version_after| Query::ListVersions {
        bucket,
        page,
        version_after,
    };
    assert!(cost(&p, &versions(page("", "/", None, 10), None)) <= 1 + 2 * 11);
    assert!(cost(&p, &versions(page("", "", None, 50), None)) <= 1 + 52 + 2);
    let Reply::Versions(first) = p.ask(&versions(page("50", "", None, 100), None)) else {
        panic!()
    };
    let (after, version) = first.next.unwrap();
    let read = cost(&p, &versions(page("50", "", Some(&after), 50), version));
    assert!(
        read <= 50 + 6,
        "resuming inside a key skips what was shown: {read}"
    );
}

#[test]
fn versions_page_through_a_key_without_losing_the_latest() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "a", 1, 1);
    p.versioning(1, Versioning::Enabled);
    p.put(1, "a", 2, 2);
    p.put(1, "b", 3, 3);
    p.put(1, "b", 4, 4);
    p.delete(1, "b", None);
    p.versioning(1, Versioning::Suspended);
    p.put(1, "c/d", 5, 5);
    p.put(1, "d", 6, 6);
    for limit in 1..8 {
        let (lines, _) = all_versions(&p, &page("", "/", None, limit));
        let want = [
            ("a", Some(2), true),
            ("a", Some(1), false),
            ("b", Some(0), true),
            ("b", Some(4), false),
            ("b", Some(3), false),
            ("c/", None, false),
            ("d", Some(6), true),
        ];
        let want: Vec<_> = want
            .into_iter()
            .map(|(name, size, latest)| (name.to_owned(), size, latest))
            .collect();
        assert_eq!(lines, want, "{limit}");
    }
}

/// Walks all pages: name, size (none: prefix), latest; and the number of pages.
fn all_versions(p: &Partition, first: &ListQuery) -> (Vec<(String, Option<u64>, bool)>, usize) {
    let (mut lines, mut query, mut version_after, mut pages) = (Vec::new(), first.clone(), None, 0);
    loop {
        pages += 1;
        let ask = Query::ListVersions {
            bucket: p.bucket(1),
            page: query.clone(),
            version_after,
        };
        let Reply::Versions(page) = p.ask(&ask) else {
            panic!()
        };
        let versions = page
            .versions
            .iter()
            .map(|v| (v.key.to_string(), Some(v.row.size), v.latest));
        let mut shown: Vec<_> = versions.collect();
        shown.extend(
            page.prefixes
                .iter()
                .map(|prefix| (prefix.clone(), None, false)),
        );
        assert!(shown.len() <= first.limit as usize);
        shown.sort_by(|a, b| a.0.cmp(&b.0));
        lines.extend(shown);
        let Some((after, version)) = page.next else {
            return (lines, pages);
        };
        (query.after, version_after) = (Some(after), version);
    }
}

#[test]
fn a_marker_that_vanished_between_pages_still_says_where_to_go_on() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    for size in 1..=4 {
        p.put(1, "k", size, 1);
    }
    let bucket = p.bucket(1);
    let ask = |p: &Partition, version_after| {
        let query = Query::ListVersions {
            bucket,
            page: page("", "", Some("k"), 9),
            version_after,
        };
        let Reply::Versions(page) = p.ask(&query) else {
            panic!()
        };
        page.versions
            .iter()
            .map(|v| (v.row.size, v.latest, v.row.version))
            .collect::<Vec<_>>()
    };
    let Reply::Versions(all) = p.ask(&Query::ListVersions {
        bucket,
        page: page("", "", None, 9),
        version_after: None,
    }) else {
        panic!()
    };
    let ids: Vec<VersionId> = all.versions.iter().map(|v| v.row.version).collect();
    let sizes = |found: Vec<(u64, bool, VersionId)>| {
        found.into_iter().map(|v| (v.0, v.1)).collect::<Vec<_>>()
    };
    assert_eq!(sizes(ask(&p, Some(ids[1]))), [(2, false), (1, false)]);
    p.delete(1, "k", Some(ids[0]));
    p.delete(1, "k", Some(ids[1]));
    assert_eq!(
        sizes(ask(&p, Some(ids[1]))),
        [(2, true), (1, false)],
        "promoted meanwhile"
    );
    assert_eq!(
        sizes(ask(&p, Some(VersionId::Null))),
        [(2, true), (1, false)],
        "no null: all of it"
    );
    assert_eq!(ask(&p, None).len(), 0, "after the key itself: nothing");
}

#[test]
fn uploads_by_key_then_age() {
    let mut p = Partition::with_buckets(1);
    let mut ids: Vec<(&str, UploadId)> = Vec::new();
    for name in ["b", "a/x", "a/y", "b", "b"] {
        p.now = p.now.plus_ms(1);
        ids.push((name, p.upload(1, name)));
        let upload = ids.last().unwrap().1;
        p.put_part(1, name, upload, 1, 1);
    }
    let bucket = p.bucket(1);
    let ask = |query: ListQuery, upload_after| {
        let Reply::Uploads(page) = p.ask(&Query::ListUploads {
            bucket,
            page: query,
            upload_after,
        }) else {
            panic!()
        };
        let uploads: Vec<_> = page.uploads.iter().map(|found| found.upload).collect();
        (uploads, page.prefixes, page.next)
    };
    let (uploads, prefixes, next) = ask(page("", "/", None, 3), None);
    assert_eq!(
        (uploads, prefixes),
        (vec![ids[0].1, ids[3].1], vec!["a/".to_owned()])
    );
    assert_eq!(next, Some(("b".to_owned(), Some(ids[3].1))));
    assert_eq!(
        ask(page("", "/", Some("b"), 3), Some(ids[3].1)).0,
        [ids[4].1]
    );
    assert_eq!(ask(page("", "/", Some("b"), 3), None).0, []);
    assert_eq!(ask(page("a/", "/", Some("a/x"), 3), None).0, [ids[2].1]);
    assert_eq!(ask(page("a/", "/", None, 2), None).2, None);
    assert!(
        cost(
            &p,
            &Query::ListUploads {
                bucket,
                page: page("", "", None, 5),
                upload_after: None
            }
        ) <= 7
    );
}

#[test]
fn parts_page_by_number() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    for number in [3, 1, 200, 7] {
        p.put_part(1, "k", upload, number, 1);
    }
    let ask = |after, limit| {
        let query = Query::ListParts {
            bucket: p.bucket(1),
            key: key("k"),
            upload,
            after,
            limit,
        };
        let Reply::Parts(page) = p.ask(&query) else {
            panic!()
        };
        (
            page.parts.iter().map(|part| part.0).collect::<Vec<_>>(),
            page.more,
        )
    };
    assert_eq!(ask(0, 10), (vec![1, 3, 7, 200], false));
    assert_eq!(ask(0, 4), (vec![1, 3, 7, 200], false));
    assert_eq!(ask(0, 3), (vec![1, 3, 7], true));
    assert_eq!(ask(3, 1), (vec![7], true));
    assert_eq!(ask(200, 1), (vec![], false));
    assert_eq!(ask(0, 0), (vec![], false));
    let other = Query::Upload {
        bucket: p.bucket(1),
        key: key("other"),
        upload,
    };
    assert_eq!(p.ask(&other), Reply::Refused(Refusal::NoSuchUpload));
}

#[test]
fn a_marker_answers_by_who_asks() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    p.put(1, "k", 1, 1);
    let engine_core::meta::Answer::Deleted {
        version: Some(id), ..
    } = p.delete(1, "k", None)
    else {
        panic!()
    };
    let ask = |version| {
        p.ask(&Query::Version {
            bucket: p.bucket(1),
            key: key("k"),
            version,
            body: true,
        })
    };
    assert_eq!(ask(None), Reply::Marker(id, BEGIN));
    let Reply::Version(found) = ask(Some(id)) else {
        panic!()
    };
    assert!(found.latest && found.body.is_none());
    assert_eq!(p.ask(&Query::Bucket(BucketId(9))), Reply::Bucket(None));
}

/// What a listing shows, by the book: strictly after, rolled up, sorted.
fn naive(names: &BTreeSet<String>, query: &ListQuery) -> Vec<String> {
    let mut lines = Vec::new();
    for name in names.iter().filter(|name| name.starts_with(&query.prefix)) {
        let rest = &name[query.prefix.len()..];
        let cut = Some(&query.delimiter)
            .filter(|d| !d.is_empty())
            .and_then(|d| Some(rest.find(d.as_str())? + d.len()));
        let line = cut.map_or(name.clone(), |cut| {
            name[..query.prefix.len() + cut].to_owned()
        });
        let after = query.after.as_ref();
        let passed = after.is_some_and(|after| name <= after || (cut.is_some() && line == *after));
        if !passed && lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

fn name() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "/", "//", "\0", "é"]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::default())]
    #[test]
    fn pages_show_what_a_naive_listing_shows(
        names in prop::collection::btree_set(name(), 0..25),
        prefix in prop_oneof![2 => Just(String::new()), 1 => name()],
        delimiter in prop::sample::select(vec!["", "/", "//", "a", "é", "b/"]),
        after in prop::option::of(name()),
        limit in 1..6u32,
    ) {
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        let p = store(&keys);
        let mut query = page(&prefix, delimiter, after.as_deref(), limit);
        let want = naive(&names, &query);
        let mut seen = Vec::new();
        loop {
            let (lines, next) = list(&p, query.clone());
            prop_assert!(lines.len() == limit as usize || next.is_none());
            seen.extend(lines);
            prop_assert_eq!(seen.len() < want.len(), next.is_some(), "more only where more follow");
            let Some(next) = next else { break };
            query.after = Some(next);
        }
        prop_assert_eq!(&seen, &want);
        let (versions, _) = all_versions(&p, &page(&prefix, delimiter, after.as_deref(), limit));
        let versions: Vec<_> = versions.into_iter().map(|line| line.0).collect();
        prop_assert_eq!(versions, want);
    }
}
