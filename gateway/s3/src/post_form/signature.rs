//! Who signed a form: SigV4, and where the option is on SigV2, over the base64 text of its policy.
//!
//! A form may be submitted long after it was made: its policy says how long. The date of a SigV4
//! credential only bounds it to the seven days a signing key lives.

use super::{Fields, policy::Policy};
use crate::access::Signature;
use crate::auth::Auth;
use crate::identity::Identity;
use crate::options::FrontOptions;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use s3s::{S3Error, S3Result, s3_error};
use std::sync::Arc;

/// Longest life of a form, from its `x-amz-date`: that of AWS's signing keys.
pub(crate) const FORM_AGE_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far a client's clock may be ahead.
pub(crate) const FORM_SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// The parts of `x-amz-credential`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Credential<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

fn missing(field: &str) -> S3Error {
    s3_error!(
        InvalidArgument,
        "Bucket POST must contain a field named '{field}'.  If it is specified, please check the order \
         of the fields."
    )
}

fn mismatch() -> S3Error {
    s3_error!(
        SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. Check your key \
         and signing method."
    )
}

/// Who signed a form and how, and the policy if there is one.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) identity: Identity,
    pub(super) signature: Signature,
    pub(super) policy: Option<Policy>,
}

impl Signer {
    fn of(
        credential: Arc<engine_node::Credential>,
        signature: Signature,
        policy: &str,
    ) -> S3Result<Self> {
        Ok(Self {
            identity: Identity::Account(credential),
            signature,
            policy: Some(Policy::parse(policy)?),
        })
    }
}

/// The signer. A form without any signing field is anonymous.
pub(super) async fn verify(
    auth: &Auth,
    options: &FrontOptions,
    fields: &Fields,
    now: Timestamp,
) -> S3Result<Signer> {
    let any = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    if fields.get("x-amz-security-token").is_some() {
        return Err(s3_error!(
            InvalidToken,
            "The provided token is malformed or otherwise invalid."
        ));
    }
    if any(&["x-amz-signature", "x-amz-credential", "x-amz-algorithm"]) {
        return version_four(auth, &options.region, fields, now).await;
    }
    if any(&["signature", "awsaccesskeyid"]) {
        if !options.post_form_sigv2 {
            return Err(s3_error!(
                InvalidRequest,
                "The authorization mechanism you have provided is not supported. Please use \
                 AWS4-HMAC-SHA256."
            ));
        }
        return version_two(auth, fields).await;
    }
    match fields.get("policy") {
        Some(_unsigned) => Err(missing("x-amz-signature")),
        None => Ok(Signer {
            identity: Identity::Anonymous,
            signature: Signature::none(),
            policy: None,
        }),
    }
}

async fn version_two(auth: &Auth, fields: &Fields) -> S3Result<Signer> {
    let text = fields.get("policy").ok_or_else(|| missing("policy"))?;
    let access_key = fields
        .get("awsaccesskeyid")
        .ok_or_else(|| missing("AWSAccessKeyId"))?;
    let signature = fields
        .get("signature")
        .ok_or_else(|| missing("Signature"))?;
    let credential = auth.credential(access_key).await?;
    let given = STANDARD.decode(signature).map_err(|_error| mismatch())?;
    let key = hmac::Key::new(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        credential.secret.0.as_bytes(),
    );
    check(&key, text, &given)?;
    Signer::of(credential, Signature::form(true, None), text)
}

async fn version_four(
    auth: &Auth,
    region: &str,
    fields: &Fields,
    now: Timestamp,
) -> S3Result<Signer> {
    let need = |name: &str| fields.get(name).ok_or_else(|| missing(name));
    let (text, algorithm) = (need("policy")?, need("x-amz-algorithm")?);
    let (scope, date) = (need("x-amz-credential")?, need("x-amz-date")?);
    let signature = need("x-amz-signature")?;
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(s3_error!(
            InvalidArgument,
            "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""
        ));
    }
    let scope = parse_scope(scope, region)?;
    check_date(date, &scope, now)?;
    let credential = auth.credential(scope.access_key).await?;
    let given = hex::decode(signature).map_err(|_error| mismatch())?;
    check(&signing_key(&credential.secret.0, &scope), text, &given)?;
    Signer::of(credential, Signature::form(false, Some(date)), text)
}

fn check(key: &hmac::Key, text: &str, given: &[u8]) -> S3Result<()> {
    #[cfg(sabotage)]
    if engine_types::sabotage("skip-form-signature") {
        return Ok(());
    }
    hmac::verify(key, text.as_bytes(), given).map_err(|_error| mismatch())
}

fn signing_key(secret: &str, scope: &Credential<'_>) -> hmac::Key {
    let step = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
    };
    let first = [b"AWS4", secret.as_bytes()].concat();
    let day = step(&first, scope.date);
    let region = step(day.as_ref(), scope.region);
    let service = step(region.as_ref(), scope.service);
    hmac::Key::new(
        hmac::HMAC_SHA256,
        step(service.as_ref(), "aws4_request").as_ref(),
    )
}

fn parse_scope<'a>(scope: &'a str, region: &str) -> S3Result<Credential<'a>> {
    let wrong = |what: &str| {
        s3_error!(
            AuthorizationQueryParametersError,
            "Error parsing the X-Amz-Credential parameter; {what}"
        )
    };
    // Access keys may hold slashes; the four last parts never do.
    let mut parts = scope.rsplitn(5, '/');
    let (Some("aws4_request"), Some(service), Some(scoped), Some(date), Some(access_key)) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err(wrong(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        ));
    };
    if service != "s3" {
        return Err(wrong("incorrect service. This endpoint belongs to \"s3\"."));
    }
    if scoped != region {
        return Err(wrong(&format!(
            "the region '{scoped}' is wrong; expecting '{region}'"
        )));
    }
    Ok(Credential {
        access_key,
        date,
        region: scoped,
        service,
    })
}

fn check_date(date: &str, scope: &Credential<'_>, now: Timestamp) -> S3Result<()> {
    let wrong = || {
        s3_error!(
            AuthorizationQueryParametersError,
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    };
    let made = DateTime::strptime("%Y%m%dT%H%M%SZ", date).map_err(|_error| wrong())?;
    let made = made
        .to_zoned(TimeZone::UTC)
        .map_err(|_error| wrong())?
        .timestamp();
    if date.get(..8) != Some(scope.date) {
        return Err(s3_error!(
            AuthorizationQueryParametersError,
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date.",
            scope.date
        ));
    }
    let age = now.duration_since(made);
    if age > FORM_AGE_MAX || -age > FORM_SKEW_MAX {
        return Err(s3_error!(
            RequestTimeTooSkewed,
            "The difference between the request time and the current time is too large."
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_verifies() {
        // "Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)", S3 API reference.
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        let scope = "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request";
        let scope = parse_scope(scope, "us-east-1").expect("scope");
        let key = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope);
        let given = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
        let given = hex::decode(given).expect("hex");
        assert!(check(&key, policy, &given).is_ok());
        assert!(check(&key, &policy[1..], &given).is_err());
        assert!(Policy::parse(policy).is_ok());
    }

    #[test]
    fn scopes_and_dates() {
        for (scope, fine) in [
            ("AK/20260102/r/s3/aws4_request", true),
            ("A/K/20260102/r/s3/aws4_request", true),
            ("AK/20260102/q/s3/aws4_request", false),
            ("AK/20260102/r/iam/aws4_request", false),
            ("AK/20260102/r/s3/aws5_request", false),
            ("20260102/r/s3/aws4_request", false),
        ] {
            assert_eq!(parse_scope(scope, "r").is_ok(), fine, "{scope}");
        }
        let scope = parse_scope("AK/20260102/r/s3/aws4_request", "r").expect("scope");
        // What the dates below stand at and one second past.
        assert_eq!(FORM_AGE_MAX, SignedDuration::from_hours(7 * 24));
        assert_eq!(FORM_SKEW_MAX, SignedDuration::from_mins(15));
        for (date, now, fine) in [
            ("20260102T030405Z", "2026-01-02T03:04:05Z", true),
            ("20260102T030405Z", "2026-01-09T03:04:05Z", true),
            ("20260102T030405Z", "2026-01-09T03:04:06Z", false),
            ("20260102T030405Z", "2026-01-02T02:49:05Z", true),
            ("20260102T030405Z", "2026-01-02T02:49:04Z", false),
            ("20260103T030405Z", "2026-01-03T03:04:05Z", false),
            ("2026-01-02", "2026-01-02T03:04:05Z", false),
        ] {
            assert_eq!(
                check_date(date, &scope, now.parse().expect("time")).is_ok(),
                fine,
                "{date} {now}"
            );
        }
    }
}
