//! Continuation tokens: where a listing goes on, sealed against change and against use elsewhere.
//!
//! Not secret: a digest over scope and position is enough to tell a token of ours from noise, and
//! one of this bucket from one of another. Whoever forges one gets what `start-after` gives anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::{S3Result, s3_error};

const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 8;

fn digest(scope: u64, after: &str) -> [u8; DIGEST_BYTES] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"datamesh continuation token");
    context.update(&scope.to_be_bytes());
    context.update(after.as_bytes());
    let mut short = [0; DIGEST_BYTES];
    short.copy_from_slice(&context.finish().as_ref()[..DIGEST_BYTES]);
    short
}

/// `scope`: the bucket's id, 0 for the list of buckets.
pub(crate) fn encode(scope: u64, after: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&digest(scope, after));
    bytes.extend_from_slice(after.as_bytes());
    BASE64.encode(bytes)
}

/// The position; anything [`encode`] did not write for this scope is refused.
pub(crate) fn decode(scope: u64, token: &str) -> S3Result<String> {
    let parse = || {
        let bytes = BASE64.decode(token).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (sum, after) = rest.split_at_checked(DIGEST_BYTES)?;
        let after = String::from_utf8(after.to_vec()).ok()?;
        (version == VERSION && sum == digest(scope, &after)).then_some(after)
    };
    parse().ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "The continuation token provided is incorrect"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_nothing_else_passes() {
        for after in ["", "a", "ü/\u{0}\n", &"k".repeat(1024)] {
            assert_eq!(decode(7, &encode(7, after)).ok().as_deref(), Some(after));
        }
        let mut tampered = encode(7, "abc").into_bytes();
        if let Some(last) = tampered.last_mut() {
            *last = if *last == b'A' { b'B' } else { b'A' };
        }
        let tampered = String::from_utf8(tampered).expect("ascii");
        for bad in ["", "x", "%%%", &encode(8, "abc"), &tampered] {
            assert_eq!(
                decode(7, bad).expect_err("refused").code().as_str(),
                "InvalidArgument"
            );
        }
    }
}
