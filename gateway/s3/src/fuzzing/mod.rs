//! This crate's parsers of foreign bytes as a fuzzer calls them: bytes in, accepted or not, no panic.
//!
//! No part of the API. A module and not a crate, because what it calls is private to this one.

mod bodies;

use crate::access;
use crate::acl::{Acl, grantees};
use crate::checksum;
use crate::chunked::Framing;
use crate::conditions;
use crate::documents::BucketRules;
use crate::gateway::{object_key, version_id};
use crate::host::Hosts;
use crate::options::Proxy;
use crate::precheck::Known;
use crate::sse::CustomerAsked;
use crate::{precheck, range, tagging, token, translate};
use engine_core::meta::{BucketDocument, BucketRow, Versioning};
use engine_core::seal::BoundContext;
use engine_types::{AccountId, BucketId, BucketName, Stamp};
use http::request::Parts;
use s3s::dto::{CopySource, ETagCondition, Range, Timestamp, TimestampFormat};

pub use crate::post_form::fuzzing::{form, form_policy, tagging as post_tagging};
pub use bodies::{BODIES, body};

/// What the head alone decides, its condition keys and the copy source it may name.
pub fn head(head: &Parts) -> bool {
    let known = Known {
        target: precheck::target(head, true),
        bucket: true,
        key: true,
        length: Some(3),
        region: "us-east-1",
    };
    let checked = precheck::check(head, &known).is_ok();
    let _service = precheck::scope_service(&head.headers);
    let _asked = access::parse_head(&head.uri, &head.headers);
    let values = checksum::Values::default();
    let sums = checksum::Declared::of(&values, None, &head.headers);
    checked && sums.is_ok()
}

/// Kinds of [`value`].
pub const VALUES: u8 = 17;

/// Values of headers, fields and query parameters: `kind` picks which.
pub fn value(kind: u8, text: &str) -> bool {
    match kind % VALUES {
        0 => tagging::parse_header(text).is_ok(),
        1 => Range::parse(text).is_ok_and(|asked| {
            [0, 1, 10, u64::MAX].into_iter().all(|size| {
                let found = range::resolve(asked, size);
                found.is_none_or(|found| found.start < found.end && found.end <= size)
            })
        }),
        2 => [0, 1, 10, u64::MAX].into_iter().any(|size| {
            let found = range::copy_range(text, size);
            found.is_ok_and(|found| found.start < found.end && found.end <= size)
        }),
        3 => token::decode(7, text).is_ok_and(|after| token::encode(7, &after) == text),
        4 => version_id(Some(text)).is_ok(),
        5 => object_key(text).is_ok(),
        6 => grantees(text).is_ok(),
        7 => ETagCondition::parse_http_header(text.as_bytes()).is_ok_and(|condition| {
            conditions::write(Some(&condition), Some(&condition))
                .if_match
                .is_some()
        }),
        8 => translate::form_decode(text).is_some(),
        9 => Hosts::new(&["s3.example.com".into()])
            .bucket(text)
            .is_some(),
        10 => text.parse::<Proxy>().is_ok(),
        11 => checksum::parse_name(text).is_ok(),
        12 => BoundContext::of_header(Some(text)).stored().is_some(),
        13 => post_tagging(text),
        14 => CopySource::parse(text).is_ok(),
        15 => Timestamp::parse(TimestampFormat::HttpDate, text).is_ok(),
        _ => {
            let mut parts = text.split('\n').map(|part| Some(part.to_owned()));
            let mut next = || parts.next().flatten();
            let asked = CustomerAsked {
                algorithm: next(),
                key: next(),
                md5: next(),
            };
            asked.parse(true).is_ok()
        }
    }
}

/// An aws-chunked body, whole and in pieces of `step` bytes, which must not differ; the first bit of
/// `kind` says whether chunks are signed, the second whether a trailer is announced.
pub fn chunked(kind: u8, step: u8, body: &[u8]) -> bool {
    let announced = (kind & 2 != 0).then_some("x-amz-checksum-crc32");
    let read = |step: usize| {
        let mut framing = Framing::new(kind & 1 != 0, announced, 5);
        let mut payload = Vec::new();
        for piece in body.chunks(step) {
            let keep = |range: std::ops::Range<usize>| {
                payload.extend(piece.get(range).map(<[u8]>::to_vec));
            };
            framing.take(piece, keep).ok()?;
        }
        let trailers = framing.finish().ok()?;
        assert_eq!(
            payload.concat().len(),
            5,
            "the payload is as long as announced"
        );
        Some((payload.concat(), trailers))
    };
    let (whole, pieces) = (read(body.len().max(1)), read(usize::from(step).max(1)));
    assert_eq!(whole, pieces, "pieces read as the whole does");
    whole.is_some()
}

/// A bucket's kept documents, as anybody with a drive in the hand may have written them.
pub fn document(kind: u8, bytes: &[u8]) -> bool {
    let kind = match kind % 4 {
        0 => BucketDocument::Acl,
        1 => BucketDocument::Ownership,
        2 => BucketDocument::PublicAccessBlock,
        _ => BucketDocument::Policy,
    };
    let Ok(name) = BucketName::parse("bucket") else {
        return false;
    };
    let row = BucketRow {
        id: BucketId(7),
        name,
        owner: AccountId(1),
        created: Stamp::default(),
        epoch: 1,
        versioning: Versioning::Unversioned,
        documents: [(kind, bytes.to_vec())].into(),
        closed: false,
    };
    let _acl = Acl::from_row(bytes, AccountId(1));
    BucketRules::of(&row).is_ok()
}
