//! Method, path and query: what kind of request it is, and which kinds are none.

use super::{Known, Query, scope_service};
use crate::document_body::{COMPLETE_MARKS_MAX, DOCUMENT_MARKS_MAX};
use http::request::Parts;
use http::{Method, header};
use s3s::{S3Error, S3Result, s3_error};

/// What the front knows of a request's target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// PutObject or UploadPart: a body of bytes.
    Bytes,
    /// A browser's form.
    Form,
    /// Anything else: at most a document.
    Document,
}

/// Sub-resources whose PUT carries a document or nothing, on a key.
const KEY_DOCUMENTS: [&str; 8] = [
    "acl",
    "tagging",
    "retention",
    "legal-hold",
    "encryption",
    "torrent",
    "annotation",
    "renameObject",
];

/// Which of the three a request is. `key`: its path has one.
pub(crate) fn target(head: &Parts, key: bool) -> Target {
    let query = Query::of(&head.uri);
    let copies = head.headers.contains_key("x-amz-copy-source");
    let documents = || KEY_DOCUMENTS.iter().any(|name| query.has(name));
    if head.method == Method::PUT && key && !copies && !documents() {
        return Target::Bytes;
    }
    let content = head
        .headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |v| v.as_bytes());
    let form = content
        .get(..19)
        .is_some_and(|c| c.eq_ignore_ascii_case(b"multipart/form-data"));
    if head.method == Method::POST && form {
        Target::Form
    } else {
        Target::Document
    }
}

/// Most marks of the document that comes with this head.
pub(crate) fn marks_max(head: &Parts) -> usize {
    if head.method == Method::POST && Query::of(&head.uri).has("uploadId") {
        COMPLETE_MARKS_MAX
    } else {
        DOCUMENT_MARKS_MAX
    }
}

fn not_allowed() -> S3Error {
    s3_error!(
        MethodNotAllowed,
        "The specified method is not allowed against this resource."
    )
}

/// Methods S3 knows.
pub(super) fn method(method: &Method) -> S3Result<()> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::PUT
        | Method::POST
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        _ => Err(not_allowed()),
    }
}

/// Requests that s3s would take for others than they are.
pub(super) fn check(head: &Parts, query: &Query, known: &Known<'_>) -> S3Result<()> {
    let writes = matches!(head.method, Method::PUT | Method::POST | Method::DELETE);
    // Other services' requests come to the root.
    let of_s3 = scope_service(&head.headers).is_none_or(|service| service == "s3");
    if writes && !known.bucket && of_s3 {
        return Err(not_allowed());
    }
    if writes && known.key && query.has("torrent") {
        return Err(not_allowed());
    }
    // Half of the two that make a PUT an UploadPart: never the object itself.
    let half = query.has("partNumber") != query.has("uploadId");
    if head.method == Method::PUT && known.key && half {
        return Err(s3_error!(
            InvalidArgument,
            "partNumber and uploadId are given together or not at all"
        ));
    }
    let list_type = query.get("list-type").filter(|_| !known.key);
    if head.method == Method::GET && list_type.is_some_and(|kind| kind != "2") {
        return Err(s3_error!(
            InvalidArgument,
            "Invalid List Type specified in Request"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{code, head};
    use super::*;

    #[test]
    fn what_is_no_request() {
        let iam = "AWS4-HMAC-SHA256 Credential=AK/20260101//iam/aws4_request, \
                   SignedHeaders=host, Signature=0";
        for (method, uri, expected) in [
            ("PATCH", "/b/k", "MethodNotAllowed"),
            ("PUT", "/", "MethodNotAllowed"),
            ("POST", "/", "MethodNotAllowed"),
            ("DELETE", "/", "MethodNotAllowed"),
            ("GET", "/", "ok"),
            ("PUT", "/b/k?torrent", "MethodNotAllowed"),
            ("GET", "/b/k?torrent", "ok"),
            ("PUT", "/b/k?partNumber=1", "InvalidArgument"),
            ("PUT", "/b/k?uploadId=x", "InvalidArgument"),
            ("PUT", "/b/k?%70artNumber=1", "InvalidArgument"),
            ("PUT", "/b/k?partNumber=1&uploadId=x", "ok"),
            ("GET", "/b/k?partNumber=1", "ok"),
            ("DELETE", "/b/k?uploadId=x", "ok"),
            ("GET", "/b?list-type=3", "InvalidArgument"),
            ("GET", "/b?list-type=", "InvalidArgument"),
            ("GET", "/b?list-type=2", "ok"),
        ] {
            let head = head(method, uri, &[("content-length", "0")]);
            assert_eq!(code(&head, Some(0)), expected, "{method} {uri}");
        }
        let other = [
            ("content-length", "0"),
            ("authorization", iam),
            ("x-amz-date", "20260101T000000Z"),
        ];
        assert_ne!(
            code(&head("POST", "/", &other), Some(0)),
            "MethodNotAllowed"
        );
    }

    #[test]
    fn parts_of_an_upload_may_be_many() {
        for (method, uri, most) in [
            ("POST", "/b/k?uploadId=x", COMPLETE_MARKS_MAX),
            ("POST", "/b?delete", DOCUMENT_MARKS_MAX),
            ("PUT", "/b/k?acl&uploadId=x", DOCUMENT_MARKS_MAX),
        ] {
            assert_eq!(marks_max(&head(method, uri, &[])), most, "{uri}");
        }
    }

    #[test]
    fn bytes_documents_and_forms() {
        let form = [("content-type", "Multipart/Form-Data; boundary=x")];
        let copy = [("x-amz-copy-source", "/b/k")];
        for (method, uri, headers, expected) in [
            ("PUT", "/b/k", &[][..], Target::Bytes),
            ("PUT", "/b/k?uploadId=x&partNumber=1", &[], Target::Bytes),
            ("PUT", "/b/k?acl", &[], Target::Document),
            ("PUT", "/b/k?%61cl", &[], Target::Document),
            ("PUT", "/b/k", &copy, Target::Document),
            ("POST", "/b/k", &form, Target::Form),
            ("POST", "/b/k", &[], Target::Document),
            ("GET", "/b/k", &form, Target::Document),
        ] {
            assert_eq!(target(&head(method, uri, headers), true), expected, "{uri}");
        }
    }
}
