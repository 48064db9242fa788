//! The form of a signature, in header or query, and of the date it rests on.

use super::Query;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use jiff::civil::DateTime;
use s3s::{S3Error, S3Result, s3_error};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
/// `x-amz-date`'s form.
const DATE_FORM: &str = "%Y%m%dT%H%M%SZ";
/// What a presigned URL must carry.
const PRESIGNED: [&str; 6] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];
/// Services whose requests come to the same port; their scope is not S3's to judge.
const OTHER_SERVICES: [&str; 3] = ["iam", "sns", "sts"];

/// Where a request carries its signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signed {
    No,
    Header,
    Query,
}

/// Where this request does; whether it is good is another's to say. An empty header is none.
pub(crate) fn signed(head: &Parts) -> Signed {
    signed_with(&head.headers, &Query::of(&head.uri))
}

fn signed_with(headers: &HeaderMap, query: &Query) -> Signed {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    if values.any(|value| !value.is_empty()) {
        Signed::Header
    } else if presigned(query) {
        Signed::Query
    } else {
        Signed::No
    }
}

fn presigned(query: &Query) -> bool {
    let says = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"];
    says.iter().any(|name| query.has(name))
}

fn malformed(what: &str) -> S3Error {
    s3_error!(
        AuthorizationHeaderMalformed,
        "The authorization header is malformed; {what}"
    )
}

fn wrong_query(what: &str) -> S3Error {
    s3_error!(AuthorizationQueryParametersError, "{what}")
}

fn no_date() -> S3Error {
    s3_error!(
        AccessDenied,
        "AWS authentication requires a valid Date or x-amz-date header"
    )
}

fn version_two() -> S3Error {
    s3_error!(
        InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    )
}

/// Every check.
pub(super) fn check(head: &Parts, query: &Query, region: &str) -> S3Result<()> {
    let presigned = presigned(query);
    if !presigned && query.has("Signature") && query.has("AWSAccessKeyId") {
        return Err(version_two());
    }
    if signed_with(&head.headers, query) != Signed::Header {
        return if presigned {
            check_presigned(head, query, region)
        } else {
            Ok(())
        };
    }
    let mut values = head.headers.get_all(header::AUTHORIZATION).iter();
    let (value, another) = (values.next(), values.next());
    if another.is_some() || presigned {
        return Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified"
        ));
    }
    let Some(value) = value.and_then(|value| value.to_str().ok()) else {
        return Err(malformed("it is not ASCII."));
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    match scheme {
        ALGORITHM => check_header(head, rest),
        "AWS" => Err(version_two()),
        _ => Err(s3_error!(InvalidArgument, "Unsupported Authorization Type")),
    }
}

/// `Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=64 hex`.
fn check_header(head: &Parts, rest: &str) -> S3Result<()> {
    let (credential, signed) = fields(rest)?;
    let scope = Scope::parse(credential).map_err(malformed)?;
    let date = match (head.headers.get(DATE), date_header(&head.headers)) {
        (Some(date), _) => date.to_str().ok().filter(|d| is_date(d)).map(str::to_owned),
        (None, date) => date,
    };
    let date = date.ok_or_else(no_date)?;
    if !date.starts_with(scope.date) {
        return Err(malformed(
            "the date in the credential is another than the request's.",
        ));
    }
    if scope.service != "s3" && !OTHER_SERVICES.contains(&scope.service) {
        return Err(malformed(&format!(
            "incorrect service \"{}\". This endpoint belongs to \"s3\".",
            scope.service
        )));
    }
    check_signed(&head.headers, signed)
}

fn fields(rest: &str) -> S3Result<(&str, &str)> {
    let mut seen = (None, None, None);
    for field in rest.split(',') {
        let Some((name, value)) = field.trim().split_once('=') else {
            return Err(malformed(
                "it must consist of name=value pairs separated by commas.",
            ));
        };
        match name {
            "Credential" => seen.0 = Some(value),
            "SignedHeaders" => seen.1 = Some(value),
            "Signature" => seen.2 = Some(value),
            _ => return Err(malformed("it holds an unknown name.")),
        }
    }
    let (Some(credential), Some(signed), Some(signature)) = seen else {
        return Err(malformed(
            "Credential, SignedHeaders and Signature are required.",
        ));
    };
    if signed.is_empty() {
        return Err(malformed("SignedHeaders is empty."));
    }
    if signature.is_empty() {
        return Err(malformed("Signature is empty."));
    }
    Ok((credential, signed))
}

fn check_presigned(head: &Parts, query: &Query, region: &str) -> S3Result<()> {
    let values = PRESIGNED.map(|name| query.single(name));
    let [
        Some(algorithm),
        Some(credential),
        Some(date),
        Some(_),
        Some(signed),
        Some(_),
    ] = values
    else {
        return Err(wrong_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
             X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each once.",
        ));
    };
    if algorithm != ALGORITHM {
        return Err(wrong_query(
            "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
        ));
    }
    if !is_date(date) {
        return Err(wrong_query(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        ));
    }
    let in_credential = |what: &str| {
        wrong_query(&format!(
            "Error parsing the X-Amz-Credential parameter; {what}"
        ))
    };
    let scope = Scope::parse(credential).map_err(in_credential)?;
    if !date.starts_with(scope.date) {
        return Err(in_credential("its date is another than X-Amz-Date."));
    }
    if scope.region != region {
        return Err(in_credential(&format!(
            "the region '{}' is wrong; expecting '{region}'",
            scope.region
        )));
    }
    if scope.service != "s3" {
        return Err(in_credential(&format!(
            "incorrect service \"{}\". This endpoint belongs to \"s3\".",
            scope.service
        )));
    }
    if signed.is_empty() {
        return Err(wrong_query("X-Amz-SignedHeaders is empty."));
    }
    check_signed(&head.headers, signed)
}

/// The host must be among the signed headers, and the date where it comes as a header. (s3s sees to
/// all other `x-amz-*`.)
fn check_signed(headers: &HeaderMap, signed: &str) -> S3Result<()> {
    let names = |name: &str| signed.split(';').any(|s| s.eq_ignore_ascii_case(name));
    if names("host") && (names(DATE) || !headers.contains_key(DATE)) {
        return Ok(());
    }
    Err(s3_error!(
        AccessDenied,
        "There were headers present in the request which were not signed"
    ))
}

/// A credential's parts, read from behind: an access key may hold slashes.
struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, &'static str> {
        let mut parts = credential.rsplitn(5, '/');
        let mut next = || parts.next();
        let (Some(terminal), Some(service), Some(region), Some(date), Some(key)) =
            (next(), next(), next(), next(), next())
        else {
            return Err(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            );
        };
        if terminal != "aws4_request" {
            return Err("incorrect terminal. This endpoint uses \"aws4_request\".");
        }
        if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
            return Err(
                "incorrect date format. This date in the credential must be in the format \"yyyyMMdd\".",
            );
        }
        if key.is_empty() {
            return Err("the access key is empty.");
        }
        Ok(Self {
            date,
            region,
            service,
        })
    }
}

/// A moment of the calendar, as `x-amz-date` writes it.
fn is_date(text: &str) -> bool {
    text.len() == 16
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z')
        && DateTime::strptime(DATE_FORM, text).is_ok()
}

/// The `Date` header as `x-amz-date` would have it.
fn date_header(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::DATE).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    if is_date(text) {
        return Some(text.to_owned());
    }
    let moment: Timestamp = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(moment.strftime(DATE_FORM).to_string())
}

/// Says in the head what s3s would look for elsewhere: an empty Authorization is none, and a `Date`
/// stands in for `x-amz-date`. (The date is in the text that is signed, so that no other fits.)
pub(crate) fn mend(head: &mut Parts) {
    if signed(head) != Signed::Header {
        head.headers.remove(header::AUTHORIZATION);
        return;
    }
    if head.headers.contains_key(DATE) {
        return;
    }
    let date = date_header(&head.headers).and_then(|d| HeaderValue::try_from(d).ok());
    if let Some(date) = date {
        head.headers.insert(DATE, date);
    }
}

/// The service a signature is for, as its scope says; nothing where there is no well-formed header.
pub(crate) fn scope_service(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let from = value.find("Credential=")? + "Credential=".len();
    let credential = value.get(from..)?.split(',').next()?;
    credential.trim().rsplit('/').nth(1)
}

#[cfg(test)]
mod tests;
