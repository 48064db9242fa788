//! A form as a fuzzer sends it.

use super::Fields;
use super::multipart::{Prefix, Progress, boundary};
use super::policy::Policy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use s3s::S3Result;

/// Fields, bytes before the file, what of it came; or the code of the refusal.
type Outcome = Result<(String, usize, Vec<u8>), String>;

fn in_pieces(boundary: &str, body: &[u8], step: usize) -> Outcome {
    let code = |error: s3s::S3Error| error.code().as_str().to_owned();
    let (mut prefix, mut fed) = (Prefix::new(boundary), 0);
    for piece in body.chunks(step) {
        fed += piece.len();
        let (next, progress) = prefix.feed(piece).map_err(code)?;
        prefix = next;
        if let Progress::File {
            mut fields,
            before,
            mut rest,
        } = progress
        {
            assert_eq!(
                before + rest.len(),
                fed,
                "no byte is lost between fields and file"
            );
            rest.extend_from_slice(body.get(fed..).unwrap_or_default());
            fields.name_file().map_err(code)?;
            return Ok((format!("{fields:?}"), before, rest));
        }
    }
    Err(code(prefix.ended()))
}

/// A content type, a line feed, and a body: fed whole and in pieces of `step` it is the same form.
pub fn form(step: u8, content_type: &str, body: &[u8]) -> bool {
    let Ok(boundary) = boundary(content_type) else {
        return false;
    };
    let whole = in_pieces(&boundary, body, body.len().max(1));
    let pieces = in_pieces(&boundary, body, usize::from(step).max(1));
    if whole.is_ok() && pieces.is_ok() {
        assert_eq!(whole, pieces, "pieces parse as the whole does");
    }
    whole.is_ok()
}

/// The `tagging` field's document: it becomes a header that reads.
pub fn tagging(document: &str) -> bool {
    super::answer::tagging_header(document).is_ok()
}

/// A policy's JSON, held against a form.
pub fn form_policy(json: &[u8]) -> bool {
    let judge = || -> S3Result<()> {
        let policy = Policy::parse(&STANDARD.encode(json))?;
        let mut fields = Fields::default();
        fields.add("key", "user/a".into())?;
        fields.add("content-type", "text/plain".into())?;
        policy.check(&fields, "bucket", 10, Timestamp::UNIX_EPOCH)
    };
    judge().is_ok()
}
