//! Headers that AWS bears and s3s refuses: mended after the signature is checked, before they are
//! parsed.
//!
//! s3s parses an operation's headers strictly and offers no way between signature and parsing, except
//! its custom route, which gets the authenticated request as it came. So a request that needs
//! mending takes that route: it is mended and handed to a second service, which knows its identity
//! already. Mending before the signature check would break it: SDKs sign these headers too.
//! All other requests never come here.
//!
//! Text that is no ASCII, which S3 keeps in some headers and s3s's strings cannot hold, is set aside
//! for the handler ([`TextHeaders`]).

use crate::access::Signature;
use crate::auth::Auth;
use crate::identity::Identity;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Uri, header};
use s3s::dto::{Range, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;

/// The route.
#[derive(Debug)]
pub(crate) struct Repair {
    inner: S3Service,
    auth: Auth,
}

impl Repair {
    /// `inner` serves what was mended.
    pub(crate) fn new(inner: S3Service, auth: Auth) -> Self {
        Self { inner, auth }
    }
}

fn range_is_nonsense(headers: &HeaderMap) -> bool {
    headers.get(header::RANGE).is_some_and(|range| {
        range
            .to_str()
            .map_or(true, |range| Range::parse(range).is_err())
    })
}

fn date_is_nonsense(headers: &HeaderMap, name: &header::HeaderName) -> bool {
    headers.get(name).is_some_and(|date| {
        let parsed = date
            .to_str()
            .map(|date| Timestamp::parse(TimestampFormat::HttpDate, date));
        !date.is_empty() && !matches!(parsed, Ok(Ok(_)))
    })
}

fn is_user_metadata(name: &header::HeaderName) -> bool {
    name.as_str().starts_with("x-amz-meta-")
}

fn repeats_metadata(headers: &HeaderMap) -> bool {
    headers.keys_len() != headers.len()
        && headers
            .keys()
            .any(|n| is_user_metadata(n) && headers.get_all(n).iter().count() > 1)
}

/// System metadata that may be UTF-8: browsers write file names so.
const TEXTS: [header::HeaderName; 3] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LANGUAGE,
];

/// Those of [`TEXTS`] that came as UTF-8 beyond ASCII, by lower-case name.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextHeaders(Arc<[(String, String)]>);

impl TextHeaders {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// The text of a header that comes once, if it is any beyond ASCII.
fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes();
    let text = std::str::from_utf8(value).ok().filter(|t| !t.is_ascii())?;
    values.next().is_none().then(|| text.to_owned())
}

/// Takes UTF-8 out of the headers.
pub(crate) fn set_text_aside(headers: &mut HeaderMap) -> TextHeaders {
    let mut aside = Vec::new();
    for name in &TEXTS {
        if let Some(text) = text(headers, name) {
            headers.remove(name);
            aside.push((name.as_str().to_owned(), text));
        }
    }
    TextHeaders(aside.into())
}

const DATES: [header::HeaderName; 2] = [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

fn needs_mending(headers: &HeaderMap) -> bool {
    range_is_nonsense(headers)
        || DATES.iter().any(|name| date_is_nonsense(headers, name))
        || TEXTS.iter().any(|name| text(headers, name).is_some())
        || repeats_metadata(headers)
}

/// A Range that is none is ignored, as is a date that is none; repeated metadata is one value,
/// joined by commas.
fn mend(headers: &mut HeaderMap) {
    if range_is_nonsense(headers) {
        headers.remove(header::RANGE);
    }
    for name in &DATES {
        if date_is_nonsense(headers, name) {
            headers.remove(name);
        }
    }
    let repeated: Vec<_> = headers
        .keys()
        .filter(|n| is_user_metadata(n) && headers.get_all(*n).iter().count() > 1)
        .cloned()
        .collect();
    for name in repeated {
        let values: Vec<_> = headers
            .get_all(&name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b","[..])) {
            headers.insert(name, joined);
        }
    }
}

/// Query parameters of a presigned URL, spent once it is verified.
const PRESIGNED: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

fn without_signature(uri: &Uri) -> S3Result<Uri> {
    let kept: Vec<_> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| !PRESIGNED.contains(&pair.split('=').next().unwrap_or_default()))
        .collect();
    let target = if kept.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), kept.join("&"))
    };
    target.parse().map_err(|error| s3_error!(error, InvalidURI))
}

#[async_trait::async_trait]
impl S3Route for Repair {
    fn is_match(&self, _: &Method, _: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        // (No form comes here: the front has made PUTs of them.)
        needs_mending(headers)
    }

    /// The inner service checks, with the operation known.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let identity = match &request.credentials {
            None => Identity::Anonymous,
            Some(c) => Identity::Account(self.auth.credential(&c.access_key).await?),
        };
        let signature = Signature::of(&request.uri, &request.headers);
        let mut inner = Request::new(request.input);
        *inner.method_mut() = request.method;
        *inner.uri_mut() = without_signature(&request.uri)?;
        *inner.headers_mut() = request.headers;
        *inner.extensions_mut() = request.extensions;
        inner.headers_mut().remove(header::AUTHORIZATION);
        mend(inner.headers_mut());
        let text = set_text_aside(inner.headers_mut());
        inner.extensions_mut().insert(text);
        inner.extensions_mut().insert(identity);
        // What policies may ask of the signature goes with it.
        inner.extensions_mut().insert(signature);
        let answer = self.inner.call(inner).await;
        let (head, body) = answer
            .map_err(|e| s3_error!(e, InternalError))?
            .into_parts();
        let mut response = S3Response::new(body);
        response.status = Some(head.status);
        response.headers = head.headers;
        response.extensions = head.extensions;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().expect("value"));
        }
        map
    }

    #[test]
    fn only_nonsense_takes_the_detour() {
        for (list, needs) in [
            (&[("range", "bytes=0-1")][..], false),
            (&[("range", "bytes=-0")][..], false),
            (&[("range", "bytes=5-2")][..], true),
            (&[("range", "bytes=0-1,3-4")][..], true),
            (&[("range", "lines=1-2")][..], true),
            (
                &[("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT")][..],
                false,
            ),
            (&[("if-modified-since", "yesterday")][..], true),
            (&[("x-amz-meta-a", "1"), ("x-amz-meta-b", "2")][..], false),
            (&[("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")][..], true),
            (&[("content-disposition", "attachment")][..], false),
            (&[("content-disposition", "filename=ä")][..], true),
            (&[("x-amz-meta-a", "ä")][..], false),
        ] {
            assert_eq!(needs_mending(&headers(list)), needs, "{list:?}");
        }
    }

    #[test]
    fn text_is_set_aside_where_s3_keeps_it() {
        let mut map = headers(&[
            ("content-disposition", "filename=ä"),
            ("cache-control", "no-cache"),
            ("x-amz-meta-a", "ä"),
        ]);
        let aside = set_text_aside(&mut map);
        let kept: Vec<_> = aside.iter().cloned().collect();
        assert_eq!(kept, [("content-disposition".into(), "filename=ä".into())]);
        assert_eq!(map.len(), 2);
        // Neither twice, nor what is no text.
        let mut twice = headers(&[("content-language", "ä"), ("content-language", "ö")]);
        assert_eq!(set_text_aside(&mut twice).iter().count(), 0);
        let bytes = HeaderValue::from_bytes(b"\xff").expect("value");
        twice.insert("content-language", bytes);
        assert_eq!(set_text_aside(&mut twice).iter().count(), 0);
    }

    #[test]
    fn mending_drops_and_joins() {
        let mut map = headers(&[
            ("range", "bytes=a-b"),
            ("if-unmodified-since", "x"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-a", "2"),
        ]);
        mend(&mut map);
        assert_eq!(map.len(), 1);
        assert_eq!(map["x-amz-meta-a"], "1,2");
        assert!(!needs_mending(&map));
    }

    #[test]
    fn a_presigned_query_keeps_what_is_not_signature() {
        let uri: Uri = "/b/k?versionId=null&X-Amz-Signature=0&X-Amz-Date=1&response-expires=x"
            .parse()
            .expect("uri");
        assert_eq!(
            without_signature(&uri).expect("uri"),
            "/b/k?versionId=null&response-expires=x"
        );
        let uri: Uri = "/b/k?X-Amz-Signature=0".parse().expect("uri");
        assert_eq!(without_signature(&uri).expect("uri"), "/b/k");
    }
}
