//! Browser forms: a POST of `multipart/form-data` becomes the PUT it stands for.
//!
//! Fields are read up to the file, the signature and its policy judged, strangers turned away. Then the
//! fields become headers of a PUT that carries its identity, and the file its body: so there is one way
//! in which objects are written, and one access check. The PUT's answer is re-said in the form's terms.
//!
//! s3s's own forms were turned down: they answer a failed condition with 400, hold forms to the clock
//! skew of signed requests instead of their policy's expiration, exempt encryption fields from the
//! policy, and hold files of unknown length in memory.

mod answer;
mod fields;
mod file;
mod forms;
#[doc(hidden)]
pub(crate) mod fuzzing;
mod multipart;
mod part;
mod policy;
mod search;
mod signature;

pub(crate) use answer::Answer;
pub(crate) use forms::Forms;

use crate::body::{BoxError, RequestBody};
use crate::gateway::object_key;
use crate::precheck::check_user_metadata;
use crate::repair;
use bytes::Bytes;
use fields::Fields;
use file::{File, MeasuredFile};
use forms::Pieces;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, StreamBody};
use jiff::Timestamp;
use multipart::{boundary, malformed};
use s3s::{Body, S3Result, s3_error};
use signature::Signer;

/// Fields that become headers as they are. `x-amz-meta-…` and checksums do too; no other does, or a
/// field could turn the PUT into a copy.
const HEADERS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// Turns a form into its PUT, and says how the PUT's answer is to be re-said. `bucket`: as host or
/// path name it; `key`: the path names one, too.
///
/// # Errors
/// AWS's for every way a form can be wrong. Nothing was stored.
pub(crate) async fn into_put(
    forms: &Forms<'_>,
    head: Parts,
    body: RequestBody,
    (bucket, key): (Option<String>, bool),
) -> S3Result<(Request<Body>, Answer)> {
    let bucket = bucket.filter(|_| !key).ok_or_else(|| {
        s3_error!(
            MethodNotAllowed,
            "The specified method is not allowed against this resource."
        )
    })?;
    let length = body.size_hint().exact().ok_or_else(|| {
        s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        )
    })?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let boundary = boundary(content_type.ok_or_else(malformed)?)?;
    let mut pieces = Box::pin(body.into_data_stream());
    let (mut fields, before, rest) = forms.read_prefix(&mut pieces, &boundary, length).await?;
    let now = Timestamp::now();
    let signer = signature::verify(forms.auth, forms.options, &fields, now).await?;
    fields.name_file()?;
    let key = required_key(&fields)?;
    forms.admit(&signer.identity, &bucket).await?;
    let left = length.saturating_sub(before as u64);
    let file = File::new(&boundary, Bytes::from(rest), left, pieces);
    let file = forms.measured(file).await?;
    if let Some(policy) = &signer.policy {
        policy.check(&fields, &bucket, file.length, Timestamp::now())?;
    }
    if file.length > forms.options.post_form_bytes_max {
        return Err(s3_error!(
            EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size"
        ));
    }
    let answer = Answer::new(&head, &fields, &bucket, &key);
    let put = put_request(head, &fields, (&bucket, &key), file, signer)?;
    Ok((put, answer))
}

fn required_key(fields: &Fields) -> S3Result<String> {
    match fields.get("key") {
        None => Err(s3_error!(
            InvalidArgument,
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order \
             of the fields."
        )),
        Some("") => Err(s3_error!(
            UserKeyMustBeSpecified,
            "The bucket POST must contain the specified field name. If it is specified, check the order \
             of the fields."
        )),
        Some(key) => {
            object_key(key)?;
            Ok(key.to_owned())
        }
    }
}

fn put_request(
    head: Parts,
    fields: &Fields,
    (bucket, key): (&str, &str),
    file: MeasuredFile,
    signer: Signer,
) -> S3Result<Request<Body>> {
    let mut headers = put_headers(fields)?;
    check_user_metadata(&headers)?;
    let text = repair::set_text_aside(&mut headers);
    for name in ["user-agent", "referer"] {
        if let Some(value) = head.headers.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    // An address is no bucket's host: the path names the bucket.
    headers.insert(HOST, HeaderValue::from_static("127.0.0.1"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(file.length));
    let frames = futures::StreamExt::map(file.stream, |piece| piece.map(http_body::Frame::data));
    let mut put = Request::new(Body::http_body_unsync(StreamBody::new(frames)));
    *put.method_mut() = Method::PUT;
    let path = format!("/{}/{}", escape(bucket), escape(key));
    *put.uri_mut() = path.parse().map_err(|error| s3_error!(error, InvalidURI))?;
    *put.headers_mut() = headers;
    *put.extensions_mut() = head.extensions;
    put.extensions_mut().insert(signer.identity);
    put.extensions_mut().insert(signer.signature);
    put.extensions_mut().insert(text);
    Ok(put)
}

fn put_headers(fields: &Fields) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (field, value) in fields.iter() {
        let (name, value) = match field.as_str() {
            "acl" => ("x-amz-acl", value.clone()),
            "tagging" => ("x-amz-tagging", answer::tagging_header(value)?),
            name if HEADERS.contains(&name) => (name, value.clone()),
            name if name.starts_with("x-amz-meta-") || name.starts_with("x-amz-checksum-") => {
                (name, value.clone())
            }
            _ => continue,
        };
        let wrong = || {
            s3_error!(
                InvalidArgument,
                "The form field '{field}' has a value that cannot be kept"
            )
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_error| wrong())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_error| wrong())?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Percent-encodes all but unreserved characters, slashes too: the path is decoded once and whole.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex::encode_upper([byte]));
        }
    }
    escaped
}

/// An error of a form's body, as the engine takes it.
fn broken() -> BoxError {
    Box::new(malformed())
}

#[cfg(test)]
mod tests {
    use super::fields::testing::fields;
    use super::*;

    #[test]
    fn a_put_says_how_and_when_its_form_was_signed() {
        use crate::access::Signature;
        let date = "20260102T030405Z";
        let head = Request::new(()).into_parts().0;
        let file = MeasuredFile {
            length: 0,
            stream: futures::StreamExt::boxed(futures::stream::empty()),
        };
        let signer = Signer {
            identity: crate::identity::Identity::Anonymous,
            signature: Signature::form(false, Some(date)),
            policy: None,
        };
        let put = put_request(head, &fields(&[], "f"), ("b", "k"), file, signer).expect("put");
        let carried = put.extensions().get::<Signature>();
        assert_eq!(carried, Some(&Signature::form(false, Some(date))));
    }

    #[test]
    fn fields_become_headers_and_no_field_makes_a_copy() {
        let form = fields(
            &[
                ("acl", "public-read"),
                ("Content-Type", "text/plain"),
                ("x-amz-meta-A", "é"),
                ("x-amz-copy-source", "other/secret"),
                ("x-amz-checksum-sha256", "x"),
                ("x-ignore-this", "x"),
                ("submit", "Upload"),
                (
                    "tagging",
                    "<Tagging><TagSet><Tag><Key>a b</Key><Value>&amp;</Value></Tag></TagSet></Tagging>",
                ),
            ],
            "f",
        );
        let headers = put_headers(&form).expect("headers");
        for (name, value) in [
            ("x-amz-acl", Some("public-read".as_bytes())),
            ("content-type", Some(b"text/plain")),
            ("x-amz-meta-a", Some("é".as_bytes())),
            ("x-amz-copy-source", None),
            ("x-amz-checksum-sha256", Some(b"x")),
            ("x-ignore-this", None),
            ("submit", None),
            ("x-amz-tagging", Some(b"a%20b=%26")),
        ] {
            assert_eq!(
                headers.get(name).map(HeaderValue::as_bytes),
                value,
                "{name}"
            );
        }
        assert!(put_headers(&fields(&[("x-amz-meta-a", "a\nb")], "f")).is_err());
    }

    #[test]
    fn keys_are_asked_for_and_escaped_whole() {
        assert!(required_key(&fields(&[], "f")).is_err());
        assert!(required_key(&fields(&[("key", "")], "f")).is_err());
        let long = |n| fields(&[("key", &"k".repeat(n))], "f");
        assert!(required_key(&long(1024)).is_ok());
        let error = required_key(&long(1025)).expect_err("too long");
        assert_eq!(error.code().as_str(), "KeyTooLongError");
        assert_eq!(escape("/a b/é.txt?x"), "%2Fa%20b%2F%C3%A9.txt%3Fx");
    }
}
