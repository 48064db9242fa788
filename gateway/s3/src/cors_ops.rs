//! CORS configuration of a bucket. What it does to requests: `cors`.

use crate::checksum::check_document;
use crate::documents::{CorsRule, named, to_row};
use crate::gateway::{Gateway, RequestContext};
use engine_core::meta::BucketDocument;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// Most rules of a bucket (S3: 100).
pub(crate) const CORS_RULES_MAX: usize = 100;
/// Longest id of a rule, characters (S3: 255).
pub(crate) const CORS_ID_CHARS_MAX: usize = 255;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// GetBucketCors.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let kept: Option<Vec<CorsRule>> = gateway
        .kept(&cx, named!(request.input), BucketDocument::Cors)
        .await?;
    let kept = kept.ok_or_else(|| {
        s3_error!(
            NoSuchCORSConfiguration,
            "The CORS configuration does not exist"
        )
    })?;
    let rules = kept.into_iter().map(|rule| CORSRule {
        allowed_headers: rule.headers,
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: rule.expose,
        id: rule.id,
        max_age_seconds: rule.max_age,
    });
    Ok(S3Response::new(GetBucketCorsOutput {
        cors_rules: Some(rules.collect()),
    }))
}

/// PutBucketCors.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let rules = parse(input.cors_configuration.cors_rules)?;
    let bucket = gateway.named(&cx, named!(input)).await?;
    let row = Some(to_row(&rules));
    gateway.keep(&cx, bucket, BucketDocument::Cors, row).await
}

pub(crate) fn parse(rules: Vec<CORSRule>) -> S3Result<Vec<CorsRule>> {
    if rules.is_empty() || rules.len() > CORS_RULES_MAX {
        return Err(s3_error!(
            MalformedXML,
            "A CORS configuration has 1 to {CORS_RULES_MAX} rules"
        ));
    }
    rules.into_iter().map(parse_rule).collect()
}

fn parse_rule(rule: CORSRule) -> S3Result<CorsRule> {
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "A CORS rule names methods and origins"
        ));
    }
    if rule
        .id
        .as_ref()
        .is_some_and(|id| id.chars().count() > CORS_ID_CHARS_MAX)
    {
        return Err(s3_error!(
            InvalidRequest,
            "A CORS rule's ID has at most {CORS_ID_CHARS_MAX} characters"
        ));
    }
    if let Some(method) = rule
        .allowed_methods
        .iter()
        .find(|m| !METHODS.contains(&m.as_str()))
    {
        return Err(s3_error!(
            InvalidRequest,
            "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
        ));
    }
    let twice = |text: &&String| text.matches('*').count() > 1;
    if let Some(origin) = rule.allowed_origins.iter().find(twice) {
        return Err(s3_error!(
            InvalidRequest,
            "AllowedOrigin \"{origin}\" can not have more than one wildcard."
        ));
    }
    if let Some(name) = rule.allowed_headers.iter().flatten().find(twice) {
        return Err(s3_error!(
            InvalidRequest,
            "AllowedHeader \"{name}\" can not have more than one wildcard."
        ));
    }
    if let Some(name) = rule
        .expose_headers
        .iter()
        .flatten()
        .find(|name| name.contains('*'))
    {
        return Err(s3_error!(
            InvalidRequest,
            "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for \
             ExposeHeader."
        ));
    }
    Ok(CorsRule {
        id: rule.id,
        methods: rule.allowed_methods,
        origins: rule.allowed_origins,
        headers: rule.allowed_headers,
        expose: rule.expose_headers,
        max_age: rule.max_age_seconds,
    })
}

/// DeleteBucketCors.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    let bucket = gateway.named(&cx, named!(request.input)).await?;
    gateway.keep(&cx, bucket, BucketDocument::Cors, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut CORSRule)) -> CORSRule {
        let mut rule = CORSRule {
            allowed_headers: None,
            allowed_methods: vec!["GET".into()],
            allowed_origins: vec!["*".into()],
            expose_headers: None,
            id: None,
            max_age_seconds: None,
        };
        change(&mut rule);
        rule
    }

    #[test]
    fn rules_are_checked() {
        let code =
            |rules| parse(rules).map_or_else(|e| e.code().as_str().to_owned(), |_| "ok".into());
        for (rule, expected) in [
            (rule(|_| ()), "ok"),
            (
                rule(|r| r.allowed_methods = vec!["PATCH".into()]),
                "InvalidRequest",
            ),
            (
                rule(|r| r.allowed_methods = vec!["get".into()]),
                "InvalidRequest",
            ),
            (rule(|r| r.allowed_methods.clear()), "MalformedXML"),
            (rule(|r| r.allowed_origins.clear()), "MalformedXML"),
            (
                rule(|r| r.allowed_origins = vec!["http://*.a.*".into()]),
                "InvalidRequest",
            ),
            (
                rule(|r| r.allowed_headers = Some(vec!["x-*-*".into()])),
                "InvalidRequest",
            ),
            (
                rule(|r| r.expose_headers = Some(vec!["x-*".into()])),
                "InvalidRequest",
            ),
            (rule(|r| r.id = Some("i".repeat(CORS_ID_CHARS_MAX))), "ok"),
            (
                rule(|r| r.id = Some("i".repeat(CORS_ID_CHARS_MAX + 1))),
                "InvalidRequest",
            ),
        ] {
            assert_eq!(code(vec![rule.clone()]), expected, "{rule:?}");
        }
        assert_eq!(code(vec![]), "MalformedXML");
        assert_eq!(code(vec![rule(|_| ()); CORS_RULES_MAX]), "ok");
        assert_eq!(code(vec![rule(|_| ()); CORS_RULES_MAX + 1]), "MalformedXML");
    }
}
