//! Answers with object names in them, written here and not by s3s: it refuses to write a control
//! character at all (500), and AWS writes a character reference. XML 1.0 knows no such reference
//! either, so strict readers want `encoding-type=url`; but nobody else's listing fails with theirs.

use crate::request::RequestState;
use bytes::Bytes;
use s3s::xml::{Serialize, Serializer};
use s3s::{S3Response, S3Result, s3_error};

/// The document of `output`.
fn document<T: Serialize>(output: &T) -> S3Result<Bytes> {
    let mut buffer = Vec::with_capacity(1024);
    let mut serializer = Serializer::new(&mut buffer);
    serializer
        .decl()
        .and_then(|()| output.serialize(&mut serializer))
        .map_err(|e| s3_error!(e, InternalError))?;
    Ok(referenced(buffer))
}

/// Control characters as references; the serialiser has seen to carriage returns, which every reader
/// would take for line feeds.
fn referenced(document: Vec<u8>) -> Bytes {
    let control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    if !document.iter().any(control) {
        return document.into();
    }
    let mut written = Vec::with_capacity(document.len() + 64);
    for byte in document {
        if control(&byte) {
            written.extend_from_slice(format!("&#x{byte:x};").as_bytes());
        } else {
            written.push(byte);
        }
    }
    written.into()
}

/// Makes the document of `output` the answer's body, whatever s3s writes. What it would write must
/// bear no name: take the names out of what is handed to it.
pub(crate) fn write<T: Serialize>(state: &RequestState, output: &T) -> S3Result<()> {
    state.set_answer(document(output)?);
    Ok(())
}

/// An answer that is all document: s3s gets an empty one.
pub(crate) fn answer<T: Serialize, O: Default>(
    state: &RequestState,
    output: &T,
) -> S3Result<S3Response<O>> {
    write(state, output)?;
    Ok(S3Response::new(O::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::ListObjectsOutput;

    #[test]
    fn control_characters_become_references_and_others_stay() {
        let output = ListObjectsOutput {
            name: Some("a\u{1}b\u{1f}\r\n\t<ü\u{7f}".into()),
            ..ListObjectsOutput::default()
        };
        let document = document(&output).expect("document");
        let text = std::str::from_utf8(&document).expect("UTF-8");
        assert!(
            text.contains("<Name>a&#x1;b&#x1f;&#13;\n\t&lt;ü\u{7f}</Name>"),
            "{text}"
        );
        assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"));
    }
}
