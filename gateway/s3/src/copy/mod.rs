//! CopyObject.

mod source;

pub(crate) use source::{Source, SourceAsked, source_asked};

use crate::access::{REJUDGED_MAX, keeps_changing};
use crate::attributes::{Asked, attributes_asked, refuse_object_lock};
use crate::checksum::{self, set_checksum};
use crate::conditions;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key};
use crate::sse::{Asked as SseAsked, ForWrite, context, set_sse, source_customer_asked, sse_asked};
use crate::tagging;
use crate::translate::{etag, time, written_version};
use engine_core::meta::{Condition, Encryption, Refusal, VersionAttributes, VersionRow};
use engine_node::{
    Bucket, DEFAULT_CHECKSUM, EngineError, PART_BYTES_MAX, PutBody, PutRequest, Rejudge,
};
use engine_types::{ChecksumAlgorithm as Algorithm, ObjectKey};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// A directive: `true` is REPLACE.
fn replaces(directive: Option<&str>, what: &'static str) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown {what} directive.")),
    }
}

/// What a copy changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Directives {
    metadata: bool,
    tags: bool,
}

/// Attributes of the copy: the request's, with the source's where a directive says COPY.
fn inherit(
    mut new: VersionAttributes,
    source: &VersionRow,
    directives: Directives,
) -> VersionAttributes {
    const REDIRECT: &str = "x-amz-website-redirect-location";
    if !directives.metadata {
        // The redirect is never copied.
        let own = new.headers.into_iter().filter(|(name, _)| name == REDIRECT);
        let theirs = source
            .attributes
            .headers
            .iter()
            .filter(|(name, _)| name != REDIRECT)
            .cloned();
        new.headers = theirs.chain(own).collect();
        new.user.clone_from(&source.attributes.user);
    }
    if !directives.tags {
        new.tags.clone_from(&source.attributes.tags);
    }
    new
}

/// Everything of a CopyObject but its source and its bytes.
struct Copy {
    key: ObjectKey,
    condition: Condition,
    asked: Asked,
    directives: Directives,
    algorithm: Option<Algorithm>,
    sse: SseAsked,
}

impl Copy {
    /// Whether the copy goes onto the very version it comes from.
    fn onto_itself(&self, source: &Source, bucket: &Bucket) -> bool {
        let same = source.bucket.row.id == bucket.row.id && source.found.key == self.key;
        same && (source.asked.is_none() || source.found.found.latest)
    }

    fn changes_something(&self) -> bool {
        self.directives.metadata
            || self.directives.tags
            || self.asked.class.is_some()
            || self.asked.website_redirect_location.is_some()
            || self.sse.algorithm.is_some()
            || self.sse.customer.key.is_some()
    }

    /// Whether the same bytes will do: only attributes differ.
    fn keeps_bytes(&self, source: &VersionRow, new: &VersionAttributes) -> bool {
        let encryption = &source.attributes.encryption;
        let customer = matches!(encryption, Encryption::Customer { .. });
        let stored = source.checksum.as_ref().map(|c| c.algorithm);
        !customer
            && new.encryption == *encryption
            && new.class == source.attributes.class
            && (self.algorithm.is_none() || self.algorithm == stored)
    }

    async fn run(
        &self,
        gateway: &Gateway,
        cx: &RequestContext,
        bucket: &Bucket,
        source: Source,
    ) -> S3Result<Result<VersionRow, EngineError>> {
        let row = source.row();
        if row.size > PART_BYTES_MAX {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: {PART_BYTES_MAX}"
            ));
        }
        let itself = self.onto_itself(&source, bucket);
        if itself && !self.changes_something() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself \
                 without changing the object's metadata, storage class, website redirect location \
                 or encryption attributes."
            ));
        }
        let sse = gateway.sse_for_write(cx, bucket, &self.sse).await?;
        let new = gateway
            .attributes(cx, bucket, &self.asked, sse.encryption.clone())
            .await?;
        let new = inherit(new, row, self.directives);
        if itself && source.found.found.latest && self.keeps_bytes(row, &new) {
            let engine = &gateway.engine;
            match engine
                .reattribute(&source.found, self.condition.clone(), new.clone(), None)
                .await
            {
                Ok(Some(row)) => return Ok(Ok(row)),
                // Another version is due, or the object has changed under us: copy the bytes.
                Ok(None) | Err(EngineError::Refused(Refusal::NeedsCopy | Refusal::Changed)) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        self.store(gateway, cx, (bucket, source), (new, sse)).await
    }

    /// Stores the source's bytes anew.
    async fn store(
        &self,
        gateway: &Gateway,
        cx: &RequestContext,
        (bucket, source): (&Bucket, Source),
        (new, sse): (VersionAttributes, ForWrite),
    ) -> S3Result<Result<VersionRow, EngineError>> {
        let row = source.row().clone();
        let stored = row.checksum.as_ref().map(|c| c.algorithm);
        let algorithm = self.algorithm.or(stored).unwrap_or(DEFAULT_CHECKSUM.0);
        let stream = gateway
            .engine
            .read(source.found, 0..row.size, source.key)
            .await;
        let (from, sealed) = (&row, (&self.sse, &sse));
        let request = PutRequest {
            bucket: bucket.clone(),
            key: self.key.clone(),
            condition: self.condition.clone(),
            attributes: new,
            stored_checksum: Some(algorithm),
            body: PutBody {
                stream: stream.map_err(from_engine)?,
                length: row.size,
                algorithms: vec![algorithm],
                verify: Box::new(|_| Ok(())),
                customer_key: sse.customer_key.clone(),
            },
            rejudge: Rejudge::new(move |bucket: Bucket| async move {
                let again = gateway.attributes_again(cx, &bucket, &self.asked, sealed);
                Ok(inherit(again.await?, from, self.directives))
            }),
        };
        Ok(gateway.engine.put(request).await)
    }
}

/// CopyObject.
pub(crate) async fn copy(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = &request.input;
    refuse_object_lock!(input);
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let mut asked = attributes_asked!(input);
    let directives = Directives {
        metadata: replaces(
            input
                .metadata_directive
                .as_ref()
                .map(MetadataDirective::as_str),
            "metadata",
        )?,
        tags: replaces(
            input
                .tagging_directive
                .as_ref()
                .map(TaggingDirective::as_str),
            "tagging",
        )?,
    };
    if !directives.tags {
        asked.tagging = None;
    } else if let Some(tags) = &asked.tagging {
        tagging::parse_header(tags)?;
    }
    let algorithm = input
        .checksum_algorithm
        .as_ref()
        .map(|a| checksum::parse_name(a.as_str()));
    let copy = Copy {
        key: object_key(&input.key)?,
        condition: conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        asked,
        directives,
        algorithm: algorithm.transpose()?,
        sse: sse_asked!(input),
    };
    let from = source_asked!(input);
    for _ in 0..REJUDGED_MAX {
        let source = gateway.source(&cx, &bucket, &from).await?;
        let version = source.version();
        match copy.run(gateway, &cx, &bucket, source).await? {
            Err(EngineError::Refused(Refusal::StaleBucket)) => {
                bucket = gateway.refresh(&cx, &bucket).await?;
            }
            Err(error) => return Err(from_engine(error)),
            Ok(row) => return Ok(S3Response::new(answer(&row, version))),
        }
    }
    Err(keeps_changing())
}

fn answer(row: &VersionRow, source_version: Option<String>) -> CopyObjectOutput {
    let mut result = CopyObjectResult {
        e_tag: Some(etag(row.etag)),
        last_modified: Some(time(row.order.stamp)),
        ..CopyObjectResult::default()
    };
    if let Some(checksum) = &row.checksum {
        set_checksum!(result, checksum.algorithm, checksum::text(checksum));
        result.checksum_type = Some(checksum::kind(checksum.kind));
    }
    let mut output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source_version,
        version_id: written_version(row.version),
        ..CopyObjectOutput::default()
    };
    set_sse!(output, &row.attributes.encryption);
    output.ssekms_encryption_context = context(&row.attributes.encryption);
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_types::{AccountId, ChargedTo, StorageClass, VersionId};

    fn attributes(
        headers: &[(&str, &str)],
        user: &[(&str, &str)],
        tags: &[(&str, &str)],
    ) -> VersionAttributes {
        let own = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect()
        };
        VersionAttributes {
            owner: AccountId(1),
            charged_to: ChargedTo {
                account: AccountId(1),
                key: None,
            },
            class: StorageClass::standard(),
            headers: own(headers),
            user: own(user),
            tags: own(tags),
            acl: Vec::new().into(),
            encryption: Encryption::Tenant,
        }
    }

    fn row(attributes: VersionAttributes) -> VersionRow {
        VersionRow {
            version: VersionId::Null,
            order: engine_types::Order::default(),
            kind: engine_core::meta::VersionKind::Object,
            size: 1,
            etag: engine_types::ETag {
                md5: [0; 16],
                parts: 0,
            },
            checksum: None,
            attributes,
            body: engine_core::meta::Body::None,
            counted: 1,
        }
    }

    #[test]
    fn directives() {
        for (text, expected) in [
            (None, Some(false)),
            (Some("COPY"), Some(false)),
            (Some("REPLACE"), Some(true)),
            (Some("copy"), None),
        ] {
            assert_eq!(replaces(text, "metadata").ok(), expected);
        }
    }

    #[test]
    fn what_is_inherited_follows_the_directives() {
        let source = row(attributes(
            &[
                ("content-type", "a/b"),
                ("x-amz-website-redirect-location", "/old"),
            ],
            &[("u", "1")],
            &[("t", "1")],
        ));
        let asked = attributes(
            &[
                ("content-type", "c/d"),
                ("x-amz-website-redirect-location", "/new"),
            ],
            &[],
            &[],
        );
        let copied = inherit(
            asked.clone(),
            &source,
            Directives {
                metadata: false,
                tags: false,
            },
        );
        assert_eq!(
            copied,
            attributes(
                &[
                    ("content-type", "a/b"),
                    ("x-amz-website-redirect-location", "/new")
                ],
                &[("u", "1")],
                &[("t", "1")],
            )
        );
        assert_eq!(
            inherit(
                asked.clone(),
                &source,
                Directives {
                    metadata: true,
                    tags: true
                }
            ),
            asked
        );
    }
}
