//! What a bucket's CORS rules do to requests: preflights are answered here, before s3s; answers to
//! actual requests gain the headers that let a browser's script read them. Nothing here grants
//! access: a request that CORS lets a browser send is judged like any other.
//!
//! The first rule that fits decides, as AWS has it. A `*` in an origin or header stands for any text,
//! also none; at most one in each.

use crate::documents::{CorsRule, document};
use crate::error::custom;
use engine_core::meta::{BucketDocument, Refusal};
use engine_node::{Engine, EngineError};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use s3s::{S3Error, S3Result};

/// What a browser asks: taken from a request's head before s3s has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    bucket: String,
    origin: String,
    method: String,
    /// Lower case.
    headers: Vec<String>,
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn bad_request(message: &str) -> S3Error {
    custom("BadRequest", StatusCode::BAD_REQUEST, message)
}

fn forbidden(message: &str) -> S3Error {
    custom("AccessForbidden", StatusCode::FORBIDDEN, message)
}

impl Asked {
    /// From an actual request; `None`: no browser, or no bucket. A script's
    /// `Access-Control-Request-Method` there is taken at its word, as S3 does.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, bucket: Option<&str>) -> Option<Self> {
        let method =
            text(headers, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_else(|| method.to_string());
        let (bucket, origin) = (bucket?.to_owned(), text(headers, &ORIGIN)?);
        Some(Self {
            bucket,
            origin,
            method,
            headers: Vec::new(),
        })
    }

    /// From an OPTIONS request.
    fn preflight(headers: &HeaderMap, bucket: Option<&str>) -> S3Result<Self> {
        let origin = text(headers, &ORIGIN).ok_or_else(|| {
            bad_request("Insufficient information. Origin request header needed.")
        })?;
        let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD)
            .ok_or_else(|| bad_request("Invalid Access-Control-Request-Method: null"))?;
        if !["GET", "PUT", "POST", "DELETE", "HEAD"].contains(&method.as_str()) {
            return Err(bad_request(&format!(
                "Invalid Access-Control-Request-Method: {method}"
            )));
        }
        let bucket = bucket
            .ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
        let list = text(headers, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let named = list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let headers = named.map(str::to_ascii_lowercase).collect();
        Ok(Self {
            bucket: bucket.to_owned(),
            origin,
            method,
            headers,
        })
    }

    /// Lets the browser's script read this answer, where a rule says so. A bucket that cannot be
    /// looked up changes nothing.
    pub(crate) async fn decorate(&self, engine: &Engine, response: &mut HeaderMap) {
        let Ok(bucket) = engine.bucket(&self.bucket).await else {
            return;
        };
        let Ok(Some(rules)) = document::<Vec<CorsRule>>(&bucket.row, BucketDocument::Cors) else {
            return;
        };
        if let Some(answer) = self.answer(&rules) {
            for (name, value) in &answer {
                response.append(name.clone(), value.clone());
            }
        }
    }

    fn answer(&self, rules: &[CorsRule]) -> Option<HeaderMap> {
        let fits = |rule: &&CorsRule| {
            rule.methods.contains(&self.method)
                && rule.origins.iter().any(|origin| wild(origin, &self.origin))
                && self.headers.iter().all(|name| allows(rule, name))
        };
        let rule = rules.iter().find(fits)?;
        let mut answer = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.insert(name, value);
            }
        };
        // The rule's own star is said as such, and then without credentials, as browsers demand.
        if rule.origins.iter().any(|origin| origin == "*") {
            set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            set(ACCESS_CONTROL_ALLOW_ORIGIN, &self.origin);
            set(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
        if !self.headers.is_empty() {
            set(ACCESS_CONTROL_ALLOW_HEADERS, &self.headers.join(", "));
        }
        if let Some(expose) = rule.expose.as_ref().filter(|expose| !expose.is_empty()) {
            set(ACCESS_CONTROL_EXPOSE_HEADERS, &expose.join(", "));
        }
        if let Some(age) = rule.max_age {
            set(ACCESS_CONTROL_MAX_AGE, &age.to_string());
        }
        set(
            VARY,
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        );
        Some(answer)
    }
}

/// Answers OPTIONS: the headers of a 200.
///
/// # Errors
/// 400 BadRequest where the browser's question is incomplete, 403 AccessForbidden where no rule fits.
pub(crate) async fn preflight(
    engine: &Engine,
    headers: &HeaderMap,
    bucket: Option<&str>,
) -> S3Result<HeaderMap> {
    let asked = Asked::preflight(headers, bucket)?;
    let bucket = match engine.bucket(&asked.bucket).await {
        Ok(bucket) => bucket,
        Err(EngineError::Refused(Refusal::NoSuchBucket)) => {
            return Err(forbidden("CORSResponse: Bucket not found"));
        }
        Err(error) => return Err(crate::error::from_engine(error)),
    };
    let rules = document::<Vec<CorsRule>>(&bucket.row, BucketDocument::Cors)?
        .ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
    asked.answer(&rules).ok_or_else(|| {
        forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of \
             Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers \
             are not whitelisted by the resource's CORS spec.",
        )
    })
}

/// `name` is in lower case.
fn allows(rule: &CorsRule, name: &str) -> bool {
    rule.headers
        .iter()
        .flatten()
        .any(|allowed| wild(&allowed.to_ascii_lowercase(), name))
}

/// Does `text` fit a pattern with at most one `*`?
fn wild(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text
            .strip_prefix(head)
            .is_some_and(|rest| rest.len() >= tail.len() && rest.ends_with(tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CorsRule {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        CorsRule {
            methods: owned(methods),
            origins: owned(origins),
            headers: Some(owned(headers)),
            expose: Some(vec!["ETag".into(), "x-amz-meta-a".into()]),
            max_age: Some(300),
            id: None,
        }
    }

    fn asked(origin: &str, method: &str, headers: &[&str]) -> Asked {
        let headers = headers.iter().map(|&name| name.to_owned()).collect();
        Asked {
            bucket: "b".into(),
            origin: origin.into(),
            method: method.into(),
            headers,
        }
    }

    fn origin_for(rules: &[CorsRule], asked: &Asked) -> Option<String> {
        let answer = asked.answer(rules)?;
        Some(
            answer[ACCESS_CONTROL_ALLOW_ORIGIN]
                .to_str()
                .expect("text")
                .to_owned(),
        )
    }

    #[test]
    fn wildcards_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("*suffix", "foo.suffix", true),
            ("*suffix", "foo.suffix.get", false),
            ("start*end", "startend", true),
            ("start*end", "start12end", true),
            ("start*end", "0start12end", false),
            ("start*tend", "startend", false),
            ("aba*aba", "ababa", false),
            ("prefix*", "prefix", true),
            ("prefix*", "bla.prefix", false),
            ("*", "", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(wild(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = [
            rule(&["GET"], &["http://a.example"], &["x-*", "Content-Type"]),
            rule(&["GET", "PUT"], &["*"], &[]),
        ];
        for (asked, origin) in [
            (
                asked("http://a.example", "GET", &["x-amz-date", "content-type"]),
                Some("http://a.example"),
            ),
            (asked("http://a.example", "GET", &["range"]), None),
            (asked("http://a.example", "PUT", &[]), Some("*")),
            (asked("http://b.example", "GET", &[]), Some("*")),
            (asked("http://b.example", "DELETE", &[]), None),
        ] {
            assert_eq!(origin_for(&rules, &asked).as_deref(), origin, "{asked:?}");
        }
    }

    #[test]
    fn answers_carry_all_a_browser_needs() {
        let rules = [rule(&["GET", "HEAD"], &["http://*.example"], &["*"])];
        let answer = asked("http://a.example", "GET", &["range"])
            .answer(&rules)
            .expect("fits");
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "http://a.example"),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "range"),
            (ACCESS_CONTROL_EXPOSE_HEADERS, "ETag, x-amz-meta-a"),
            (ACCESS_CONTROL_MAX_AGE, "300"),
            (
                VARY,
                "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
            ),
        ] {
            assert_eq!(answer[&name], value, "{name}");
        }
        let star = asked("x", "GET", &[])
            .answer(&[rule(&["GET"], &["*"], &[])])
            .expect("fits");
        assert_eq!(star[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!star.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn incomplete_preflights_are_400() {
        let headers = |list: &[(HeaderName, &'static str)]| {
            list.iter()
                .map(|(n, v)| (n.clone(), HeaderValue::from_static(v)))
                .collect::<HeaderMap>()
        };
        let origin = (ORIGIN, "http://a");
        for (list, code) in [
            (vec![], "BadRequest"),
            (vec![origin.clone()], "BadRequest"),
            (
                vec![origin.clone(), (ACCESS_CONTROL_REQUEST_METHOD, "PATCH")],
                "BadRequest",
            ),
            (vec![origin, (ACCESS_CONTROL_REQUEST_METHOD, "GET")], "ok"),
        ] {
            let got = Asked::preflight(&headers(&list), Some("b"));
            let got = got.map_or_else(|e| e.code().as_str().to_owned(), |_| "ok".into());
            assert_eq!(got, code, "{list:?}");
        }
        assert!(Asked::of(&Method::GET, &headers(&[]), Some("b")).is_none());
        let put = headers(&[(ORIGIN, "x"), (ACCESS_CONTROL_REQUEST_METHOD, "GET")]);
        assert_eq!(
            Asked::of(&Method::PUT, &put, Some("b"))
                .expect("browser")
                .method,
            "GET"
        );
    }
}
