//! The head of a request as condition keys: what policies may ask of it.
//!
//! Only what the head says. Tags of the object and of a body are added where they are known. A key
//! that the head does not fill is absent, as AWS has it; `s3:signatureAge` and the address are always
//! there, so that a Deny that rests on them holds.

use crate::request::RequestState;
use crate::tagging::{self, OBJECT_TAGS_MAX};
use crate::translate::{path_decode, query_decode};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Condition key and value; a key may come more than once where it is many-valued.
pub(crate) type Pairs = Vec<(String, String)>;

/// Headers whose condition key is `s3:` and their name.
const S3_HEADERS: &[&str] = &[
    "if-match",
    "if-none-match",
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
/// Headers whose condition key is another.
const NAMED_HEADERS: &[(&str, &str)] = &[
    ("referer", "aws:Referer"),
    ("user-agent", "aws:UserAgent"),
    ("x-amz-object-lock-mode", "s3:object-lock-mode"),
    (
        "x-amz-object-lock-retain-until-date",
        "s3:object-lock-retain-until-date",
    ),
    ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
];
/// Query parameters with their condition key.
const QUERY: &[(&str, &str)] = &[
    ("prefix", "s3:prefix"),
    ("delimiter", "s3:delimiter"),
    ("max-keys", "s3:max-keys"),
    ("versionId", "s3:VersionId"),
];

/// When it was signed: a header, or a parameter in any case.
const DATE: &str = "x-amz-date";

/// How a request was signed, as `s3:authType` and `s3:signatureversion` say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signed {
    No,
    Header,
    Query,
    Form {
        /// In version two, which nothing else may be signed in.
        v2: bool,
    },
}

/// How and when a request was signed. Set beside the identity by what takes the signature off a request
/// and hands it on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signature {
    signed: Signed,
    date: Option<String>,
}

impl Signature {
    /// Of a signed request that still carries it.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        if headers.contains_key(AUTHORIZATION) {
            return Self {
                signed: Signed::Header,
                date: header(headers, DATE),
            };
        }
        let mut query = query(uri).into_iter();
        let date = query.find(|(name, _)| name.eq_ignore_ascii_case(DATE));
        Self {
            signed: Signed::Query,
            date: date.map(|(_, date)| date),
        }
    }
    /// Of a form, whose fields are gone once it is a PUT. One of version two (`v2`) says no date.
    pub(crate) fn form(v2: bool, date: Option<&str>) -> Self {
        Self {
            signed: Signed::Form { v2 },
            date: date.map(str::to_owned),
        }
    }
    /// Of nobody.
    pub(crate) fn none() -> Self {
        Self {
            signed: Signed::No,
            date: None,
        }
    }
}

/// Decoded query parameters in order.
pub(crate) fn query(uri: &Uri) -> Vec<(String, String)> {
    let parts = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (query_decode(name), query_decode(value))
        })
        .collect()
}

/// All values of a header as one text, joined as HTTP joins them; a condition key of one value must
/// not be dodged by sending the header twice.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|v| String::from_utf8_lossy(v.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The condition keys of a head.
pub(crate) fn of_head(
    uri: &Uri,
    headers: &HeaderMap,
    state: Option<&RequestState>,
    signature: &Signature,
) -> Pairs {
    let query = query(uri);
    let mut pairs = Pairs::new();
    let mut add = |key: &str, value: String| pairs.push((key.to_owned(), value));
    let now = Timestamp::now();
    add(
        "aws:CurrentTime",
        now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    );
    add("aws:EpochTime", now.as_second().to_string());
    if let Some(state) = state {
        // An address that cannot be told is undecidable: it grants nothing and dodges no Deny.
        add("aws:SourceIp", state.peer_text());
        add("aws:SecureTransport", state.secure.to_string());
    }
    for name in S3_HEADERS {
        if let Some(value) = header(headers, name) {
            add(&format!("s3:{name}"), value);
        }
    }
    for (name, key) in NAMED_HEADERS {
        if let Some(value) = header(headers, name) {
            add(key, value);
        }
    }
    if let Some(source) = header(headers, "x-amz-copy-source") {
        // One that is not UTF-8 is refused when the source is judged.
        let decoded = path_decode(&source).unwrap_or(source);
        add(
            "s3:x-amz-copy-source",
            decoded.trim_start_matches('/').to_owned(),
        );
    }
    for (name, key) in QUERY {
        // The last of repeated ones would be a guess: s3s refuses a repeated parameter.
        if let Some((_, value)) = query.iter().find(|(known, _)| known == name) {
            add(key, value.clone());
        }
    }
    let (kind, version) = match signature.signed {
        Signed::No => return tagged(pairs, headers),
        Signed::Header => ("REST-HEADER", "AWS4-HMAC-SHA256"),
        Signed::Query => ("REST-QUERY-STRING", "AWS4-HMAC-SHA256"),
        Signed::Form { v2: false } => ("POST", "AWS4-HMAC-SHA256"),
        Signed::Form { v2: true } => ("POST", "AWS"),
    };
    add("s3:authType", kind.to_owned());
    add("s3:signatureversion", version.to_owned());
    let age = age_ms(signature.date.as_deref(), now);
    add("s3:signatureAge", age.to_string());
    tagged(pairs, headers)
}

/// Milliseconds since the signature was made; of an unreadable date the most there is.
fn age_ms(date: Option<&str>, now: Timestamp) -> i64 {
    let made = date
        .and_then(|text| DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok())
        .and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    match made {
        Some(made) => (now.as_millisecond() - made.timestamp().as_millisecond()).max(0),
        None => i64::MAX,
    }
}

/// Adds the tags of `x-amz-tagging`; not of a copy that takes its source's.
fn tagged(mut pairs: Pairs, headers: &HeaderMap) -> Pairs {
    let replaces = |directive: &http::HeaderValue| directive == "REPLACE";
    let copied = headers.contains_key("x-amz-copy-source")
        && !headers.get("x-amz-tagging-directive").is_some_and(replaces);
    let Some(text) = header(headers, "x-amz-tagging").filter(|_| !copied) else {
        return pairs;
    };
    // What cannot be read as tags is refused before anything is stored.
    let tags = tagging::header_pairs(&text).unwrap_or_default();
    // With one more than an object may have the request is refused, too.
    pairs.extend(request_tags(tags.into_iter().take(OBJECT_TAGS_MAX + 1)));
    pairs
}

/// Tags a request brings, as condition keys.
pub(crate) fn request_tags(tags: impl Iterator<Item = (String, String)>) -> Pairs {
    let mut pairs = Pairs::new();
    for (name, value) in tags {
        pairs.push(("s3:RequestObjectTagKeys".to_owned(), name.clone()));
        pairs.push((format!("s3:RequestObjectTag/{name}"), value));
    }
    pairs
}

/// Tags of the object, as condition keys.
pub(crate) fn object_tags(tags: &[(String, String)]) -> Pairs {
    tags.iter()
        .map(|(name, value)| (format!("s3:ExistingObjectTag/{name}"), value.clone()))
        .collect()
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

    fn value<'a>(pairs: &'a Pairs, key: &str) -> Vec<&'a str> {
        pairs
            .iter()
            .filter(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
            .collect()
    }

    #[test]
    fn heads_become_condition_keys() {
        let uri: Uri = "/b?list-type=2&prefix=a%2Fb+c&max-keys=7&versionId=null"
            .parse()
            .expect("uri");
        let head = headers(&[
            ("x-amz-acl", "public-read"),
            ("x-amz-acl", "private"),
            ("x-amz-copy-source", "/src/a%20b+c"),
            ("x-amz-tagging", "security=public&team=a%26b"),
            ("x-amz-tagging-directive", "REPLACE"),
            ("referer", "http://x/"),
        ]);
        let pairs = of_head(&uri, &head, None, &Signature::of(&uri, &head));
        for (key, expected) in [
            ("s3:prefix", vec!["a/b c"]),
            ("s3:max-keys", vec!["7"]),
            ("s3:VersionId", vec!["null"]),
            ("s3:x-amz-acl", vec!["public-read,private"]),
            ("s3:x-amz-copy-source", vec!["src/a b+c"]),
            ("s3:RequestObjectTag/security", vec!["public"]),
            ("s3:RequestObjectTag/team", vec!["a&b"]),
            ("s3:RequestObjectTagKeys", vec!["security", "team"]),
            ("aws:Referer", vec!["http://x/"]),
            ("s3:authType", vec!["REST-QUERY-STRING"]),
            ("s3:delimiter", vec![]),
            ("aws:SourceIp", vec![]),
        ] {
            assert_eq!(value(&pairs, key), expected, "{key}");
        }
        let nobody = of_head(&uri, &head, None, &Signature::none());
        assert!(value(&nobody, "s3:authType").is_empty());
        let copied = headers(&[
            ("x-amz-copy-source", "/src/a"),
            ("x-amz-tagging", "security=public"),
        ]);
        let pairs = of_head(&uri, &copied, None, &Signature::none());
        assert!(value(&pairs, "s3:RequestObjectTag/security").is_empty());
    }

    #[test]
    fn a_signature_is_of_the_header_or_of_the_query() {
        let uri: Uri = "/b/k?X-Amz-Date=19700101T000000Z".parse().expect("uri");
        let plain: Uri = "/b/k".parse().expect("uri");
        let head = headers(&[
            ("authorization", "AWS4-HMAC-SHA256 …"),
            ("x-amz-date", "20260102T030405Z"),
        ]);
        for (uri, head, signed, date) in [
            (
                &uri,
                &HeaderMap::new(),
                Signed::Query,
                Some("19700101T000000Z"),
            ),
            (&plain, &head, Signed::Header, Some("20260102T030405Z")),
            (&plain, &HeaderMap::new(), Signed::Query, None),
        ] {
            let of = Signature::of(uri, head);
            assert_eq!((of.signed, of.date.as_deref()), (signed, date), "{uri}");
        }
    }

    #[test]
    fn a_form_says_its_version_and_its_age() {
        let uri: Uri = "/b/k".parse().expect("uri");
        let made = Timestamp::now() - jiff::SignedDuration::from_mins(5);
        let made = made.strftime("%Y%m%dT%H%M%SZ").to_string();
        for (v2, date, version, ages) in [
            (false, Some(&*made), "AWS4-HMAC-SHA256", 300_000..900_000),
            (true, None, "AWS", i64::MAX - 1..i64::MAX),
        ] {
            let signature = Signature::form(v2, date);
            let pairs = of_head(&uri, &HeaderMap::new(), None, &signature);
            assert_eq!(value(&pairs, "s3:authType"), ["POST"]);
            assert_eq!(value(&pairs, "s3:signatureversion"), [version]);
            let [age] = value(&pairs, "s3:signatureAge")[..] else {
                panic!("one age");
            };
            let age: i64 = age.parse().expect("number");
            assert!(ages.contains(&age) || age == ages.end, "{age}");
        }
    }

    #[test]
    fn the_age_of_a_signature_is_told_and_never_too_small() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("time");
        for (date, age) in [
            (Some("20260102T030400Z"), 5_000),
            (Some("20260102T030500Z"), 0),
            (Some("yesterday"), i64::MAX),
            (None, i64::MAX),
        ] {
            assert_eq!(age_ms(date, now), age, "{date:?}");
        }
    }
}
