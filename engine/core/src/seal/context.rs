//! What SSE-KMS binds a data key to: the encryption context of the request (**format**).
//!
//! The header is base64 of a JSON object from strings to strings. Bound is a canonical form of its
//! pairs, not its text, so that white space and order say nothing, as with AWS's own KMS:
//!
//! ```text
//! SHA-256("datamesh context v1" ‖ count u32 ‖ (length u32 ‖ name ‖ length u32 ‖ value) …)
//! ```
//! numbers big-endian, pairs by name in byte order. A digest, not the form itself: it stands beside
//! the wrapped key, where whoever wraps anew finds it without the version's row. No context and an
//! empty one are two things.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;

const DOMAIN: &[u8] = b"datamesh context v1";
/// For a header that is no such object: bound as it stands. The gateway refuses those.
const RAW_DOMAIN: &[u8] = b"datamesh context raw v1";

/// Digest of an encryption context, or that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BoundContext(Option<[u8; 32]>);

impl BoundContext {
    /// No context.
    pub const NONE: Self = Self(None);

    /// Of the header as the client sent it.
    pub fn of_header(header: Option<&str>) -> Self {
        let Some(header) = header else {
            return Self::NONE;
        };
        let json = STANDARD.decode(header).ok();
        let pairs: Option<BTreeMap<String, String>> =
            json.and_then(|json| serde_json::from_slice(&json).ok());
        Self(Some(pairs.map_or_else(
            || digest(RAW_DOMAIN, [header.as_bytes()].into_iter()),
            |pairs| canonical(&pairs),
        )))
    }

    /// As stored.
    pub fn from_stored(digest: Option<[u8; 32]>) -> Self {
        Self(digest)
    }

    /// For storage.
    pub fn stored(self) -> Option<[u8; 32]> {
        self.0
    }
}

fn canonical(pairs: &BTreeMap<String, String>) -> [u8; 32] {
    let mut bytes = length(pairs.len()).to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(&length(text.len()));
        bytes.extend_from_slice(text.as_bytes());
    }
    digest(DOMAIN, [&bytes[..]].into_iter())
}

/// Headers are far below 4 GiB.
fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_be_bytes()
}

fn digest<'a>(domain: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(domain);
    parts.for_each(|part| hash.update(part));
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(json: &str) -> BoundContext {
        BoundContext::of_header(Some(&STANDARD.encode(json)))
    }

    #[test]
    fn pairs_are_bound_and_their_spelling_is_not() {
        let one = bound(r#"{"a":"1","b":"2"}"#);
        assert_eq!(one, bound("{ \"b\" : \"2\",\n \"a\":\"\\u0031\" }"));
        for other in [
            r#"{"a":"1"}"#,
            r#"{"a":"1","b":"3"}"#,
            r#"{"a":"2","b":"1"}"#,
            r#"{"a":"1","b2":""}"#,
            r#"{"a1":"","b":"2"}"#,
            "{}",
            "not json",
        ] {
            assert_ne!(one, bound(other), "{other}");
        }
        assert_ne!(bound("{}"), BoundContext::NONE);
        assert_ne!(bound("x"), bound("y"));
        assert_ne!(BoundContext::of_header(Some("%")), bound("x"));
        assert_eq!(BoundContext::of_header(None), BoundContext::NONE);
        assert_eq!(BoundContext::from_stored(one.stored()), one);
    }

    #[test]
    fn the_canonical_form_does_not_change() {
        let by_hand = [
            &b"datamesh context v1"[..],
            &[0, 0, 0, 1, 0, 0, 0, 1],
            b"a",
            &[0, 0, 0, 2],
            b"xy",
        ];
        let by_hand = ring::digest::digest(&SHA256, &by_hand.concat());
        assert_eq!(
            bound(r#"{"a":"xy"}"#).stored().as_ref().map(|d| &d[..]),
            Some(by_hand.as_ref())
        );
    }
}
