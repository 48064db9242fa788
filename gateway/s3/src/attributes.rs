//! What a writer decides of an object beside its bytes: system and user metadata, class, tags; in
//! from requests, out into answers.

use crate::access::keeps_changing;
use crate::gateway::{Gateway, RequestContext};
use crate::seams::{AclAsked, acl_for_new_object};
use crate::sse::{Asked as SseAsked, ForWrite};
use crate::tagging;
use engine_core::meta::{Encryption, VersionAttributes};
use engine_node::Bucket;
use engine_types::StorageClass;
use s3s::dto::Metadata;
use s3s::{S3Result, s3_error};

/// Class names always taken; all are stored alike.
const CLASSES: [&str; 4] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
];
/// Answered where the writer named no type.
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// As a request asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) expires: Option<String>,
    pub(crate) website_redirect_location: Option<String>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) class: Option<String>,
    /// `x-amz-tagging`.
    pub(crate) tagging: Option<String>,
    pub(crate) acl: AclAsked,
}

/// Takes an [`Asked`] from a DTO of s3s.
macro_rules! attributes_asked {
    ($input:expr) => {
        $crate::attributes::Asked {
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_language: $input.content_language.clone(),
            content_type: $input.content_type.clone(),
            expires: $input.expires.clone(),
            website_redirect_location: $input.website_redirect_location.clone(),
            metadata: $input.metadata.clone(),
            class: $input.storage_class.as_ref().map(|c| c.as_str().to_owned()),
            tagging: $input.tagging.clone(),
            acl: $crate::seams::acl_asked!($input),
        }
    };
}
pub(crate) use attributes_asked;

/// 501 for headers that ask for a guarantee that is not built: never ignored.
macro_rules! refuse_object_lock {
    ($input:expr) => {
        if $input.object_lock_mode.is_some()
            || $input.object_lock_retain_until_date.is_some()
            || $input.object_lock_legal_hold_status.is_some()
        {
            return Err(s3s::s3_error!(
                NotImplemented,
                "Object lock is not built yet"
            ));
        }
    };
}
pub(crate) use refuse_object_lock;

/// `aws-chunked` is how the body travelled, not what it is. The rest is kept to the letter.
fn stored_encoding(value: &str) -> Option<String> {
    let is_chunked = |coding: &str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    let kept: Vec<_> = value
        .split(',')
        .filter(|coding| !coding.trim().is_empty() && !is_chunked(coding))
        .collect();
    (!kept.is_empty()).then(|| kept.join(",").trim().to_owned())
}

impl Asked {
    /// System metadata by lower-case header name.
    pub(crate) fn headers(&self) -> S3Result<Vec<(String, String)>> {
        let good = |to: &String| {
            ["/", "http://", "https://"]
                .iter()
                .any(|s| to.starts_with(s))
        };
        if !self.website_redirect_location.iter().all(good) {
            return Err(crate::error::custom(
                "InvalidRedirectLocation",
                http::StatusCode::BAD_REQUEST,
                "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            ));
        }
        let encoding = self.content_encoding.as_deref().and_then(stored_encoding);
        let all = [
            ("cache-control", self.cache_control.clone()),
            ("content-disposition", self.content_disposition.clone()),
            ("content-encoding", encoding),
            ("content-language", self.content_language.clone()),
            ("content-type", self.content_type.clone()),
            ("expires", self.expires.clone()),
            (
                "x-amz-website-redirect-location",
                self.website_redirect_location.clone(),
            ),
        ];
        Ok(all
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }

    /// User metadata, by name.
    pub(crate) fn user(&self) -> Vec<(String, String)> {
        let mut user: Vec<_> = self
            .metadata
            .iter()
            .flatten()
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        user.sort_unstable();
        user
    }

    /// The class, if it is one we take.
    pub(crate) fn class(&self, extra: &[String]) -> S3Result<StorageClass> {
        let Some(name) = self.class.as_deref() else {
            return Ok(StorageClass::standard());
        };
        let invalid = || {
            s3_error!(
                InvalidStorageClass,
                "The storage class you specified is not valid"
            )
        };
        if !CLASSES.contains(&name) && !extra.iter().any(|e| e == name) {
            return Err(invalid());
        }
        StorageClass::parse(name).map_err(|_error| invalid())
    }
}

impl Gateway {
    /// All attributes of a new version in `bucket`.
    pub(crate) async fn attributes(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        asked: &Asked,
        encryption: Encryption,
    ) -> S3Result<VersionAttributes> {
        let acl = acl_for_new_object(&self.engine, bucket, &cx.identity, &asked.acl).await?;
        let mut headers = asked.headers()?;
        headers.extend(cx.text.iter().cloned());
        Ok(VersionAttributes {
            owner: acl.owner,
            charged_to: cx.identity.charged_to(bucket),
            class: asked.class(&self.options.storage_classes_extra)?,
            headers,
            user: asked.user(),
            tags: asked
                .tagging
                .as_deref()
                .map(tagging::parse_header)
                .transpose()?
                .unwrap_or_default(),
            acl: acl.acl.into(),
            encryption,
        })
    }

    /// A write whose bucket has moved before the commit: judged again, and its attributes by the
    /// bucket's new rules. Its bytes are `sealed` by then: where the bucket would encrypt them otherwise
    /// now, the write is refused.
    pub(crate) async fn attributes_again(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        asked: &Asked,
        (sse, sealed): (&SseAsked, &ForWrite),
    ) -> S3Result<VersionAttributes> {
        cx.admitted()?.again(bucket).await?;
        let now = self.sse_for_write(cx, bucket, sse).await?;
        if now.encryption != sealed.encryption {
            return Err(keeps_changing());
        }
        self.attributes(cx, bucket, asked, now.encryption).await
    }
}

/// A stored system header.
pub(crate) fn header(attributes: &VersionAttributes, name: &str) -> Option<String> {
    let found = attributes.headers.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.clone())
}

/// Stored user metadata as s3s takes it.
pub(crate) fn metadata(attributes: &VersionAttributes) -> Option<Metadata> {
    (!attributes.user.is_empty()).then(|| attributes.user.iter().cloned().collect())
}

/// The class, where answers name it: not the default one.
pub(crate) fn class_header(attributes: &VersionAttributes) -> Option<s3s::dto::StorageClass> {
    (attributes.class != StorageClass::standard())
        .then(|| attributes.class.as_str().to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_not_stored() {
        for (sent, stored) in [
            ("aws-chunked", None),
            ("gzip", Some("gzip")),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, aws-chunked", Some("gzip")),
            ("gzip, br", Some("gzip, br")),
            ("deflate, gzip,aws-chunked", Some("deflate, gzip")),
            ("aws-chunked, gzip", Some("gzip")),
            ("AWS-Chunked,", None),
        ] {
            assert_eq!(stored_encoding(sent).as_deref(), stored, "{sent}");
        }
    }

    #[test]
    fn headers_are_kept_verbatim() {
        let asked = Asked {
            expires: Some("not a date".into()),
            content_type: Some("text/x; a=b".into()),
            ..Asked::default()
        };
        let headers = asked.headers().expect("headers");
        assert!(headers.contains(&("expires".into(), "not a date".into())));
        assert!(headers.contains(&("content-type".into(), "text/x; a=b".into())));
        assert_eq!(headers.len(), 2);
        for (to, good) in [
            ("/a", true),
            ("https://x", true),
            ("ftp://x", false),
            ("a", false),
        ] {
            let asked = Asked {
                website_redirect_location: Some(to.into()),
                ..Asked::default()
            };
            assert_eq!(asked.headers().is_ok(), good, "{to}");
        }
    }

    #[test]
    fn classes_known_extra_and_unknown() {
        let extra = ["GLACIER_IR".to_owned()];
        for (name, good) in [
            (None, true),
            (Some("STANDARD"), true),
            (Some("GLACIER_IR"), true),
            (Some("GLACIER"), false),
            (Some("standard"), false),
            (Some(""), false),
        ] {
            let asked = Asked {
                class: name.map(str::to_owned),
                ..Asked::default()
            };
            assert_eq!(asked.class(&extra).is_ok(), good, "{name:?}");
        }
    }
}
