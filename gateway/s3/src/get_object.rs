//! GetObject and HeadObject: one way, with and without bytes.

use crate::attributes::{self, DEFAULT_CONTENT_TYPE};
use crate::checksum::{self, set_checksum};
use crate::conditions::{Read, Verdict};
use crate::error::{custom, from_engine};
use crate::gateway::{Gateway, RequestContext, fresh, object_key, signed, version_id};
use crate::multipart::part_number;
use crate::range;
use crate::sse::{CustomerAsked, customer_asked, set_sse};
use crate::translate::{etag, read_version, seconds};
use engine_core::meta::{Body, VersionRow};
use engine_node::{Bucket, ByteStream, CustomerKey, EngineError, Found, Lookup};
use engine_types::{Checksum, ObjectKey, Stamp, VersionId};
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use std::ops::Range as Bytes;

/// What GET and HEAD ask alike.
struct Ask {
    key: ObjectKey,
    version: Option<VersionId>,
    read: Read,
    range: Option<Range>,
    part: Option<u16>,
    checksum: bool,
    customer: CustomerAsked,
    /// `response-*`: header name and value.
    overrides: Vec<(&'static str, String)>,
    headers: HeaderMap,
}

/// Takes an [`Ask`] from a DTO of s3s; the two inputs have the same fields.
macro_rules! ask {
    ($request:expr) => {{
        let input = &$request.input;
        let expires = input.response_expires.as_ref().map(http_date).transpose()?;
        let overrides = [
            ("cache-control", input.response_cache_control.clone()),
            (
                "content-disposition",
                input.response_content_disposition.clone(),
            ),
            ("content-encoding", input.response_content_encoding.clone()),
            ("content-language", input.response_content_language.clone()),
            ("content-type", input.response_content_type.clone()),
            ("expires", expires),
        ];
        Ask {
            key: object_key(&input.key)?,
            version: version_id(input.version_id.as_deref())?,
            read: Read {
                if_match: input.if_match.clone(),
                if_none_match: input.if_none_match.clone(),
                if_modified_since: input.if_modified_since.clone(),
                if_unmodified_since: input.if_unmodified_since.clone(),
            },
            range: input.range,
            part: input.part_number.map(part_number).transpose()?,
            checksum: input
                .checksum_mode
                .as_ref()
                .is_some_and(|m| m.as_str() == "ENABLED"),
            customer: customer_asked!(input),
            overrides: overrides
                .into_iter()
                .filter_map(|(n, v)| Some((n, v?)))
                .collect(),
            headers: $request.headers.clone(),
        }
    }};
}

fn http_date(at: &Timestamp) -> S3Result<String> {
    let mut text = Vec::new();
    at.format(TimestampFormat::HttpDate, &mut text)
        .map_err(|e| s3_error!(e, InvalidArgument))?;
    String::from_utf8(text).map_err(|e| s3_error!(e, InternalError))
}

/// Which bytes of an object are asked for.
#[derive(Default)]
struct Extent {
    range: Bytes<u64>,
    /// 206.
    partial: bool,
    /// Parts in all, where one of a multipart object is asked for.
    parts: Option<u16>,
    /// That part's own checksum.
    checksum: Option<Vec<u8>>,
}

/// An object found, what of it is asked for, and the key that opens it.
struct Answer {
    bucket: Bucket,
    found: Found,
    extent: Extent,
    key: Option<CustomerKey>,
}

/// A delete marker: 404 where it is current, 405 where it was asked for.
fn marker(bucket: &Bucket, asked: Option<VersionId>, id: VersionId, at: u64) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Some(id) = read_version(bucket, id).and_then(|id| id.parse().ok()) {
        headers.insert("x-amz-version-id", id);
    }
    let mut error = if asked.is_some() {
        headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
        if let Some(at) = http_date(&seconds(Stamp(at)))
            .ok()
            .and_then(|at| at.parse().ok())
        {
            headers.insert(header::LAST_MODIFIED, at);
        }
        s3_error!(
            MethodNotAllowed,
            "The specified method is not allowed against this resource."
        )
    } else {
        s3_error!(NoSuchKey, "The specified key does not exist.")
    };
    error.set_headers(headers);
    error
}

/// 304 with what a cache needs.
fn not_modified(bucket: &Bucket, row: &VersionRow) -> S3Error {
    let mut error = s3_error!(NotModified);
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.and_then(|v| v.parse().ok()) {
            headers.insert(name, value);
        }
    };
    set("etag", Some(format!("\"{}\"", row.etag)));
    set("last-modified", http_date(&seconds(row.order.stamp)).ok());
    set(
        "cache-control",
        attributes::header(&row.attributes, "cache-control"),
    );
    set("expires", attributes::header(&row.attributes, "expires"));
    set("x-amz-version-id", read_version(bucket, row.version));
    error.set_headers(headers);
    error
}

impl Extent {
    /// The checksum of these bytes, where it is known: a part's own, or the object's for all of it.
    fn checksum(&self, object: &Checksum, size: u64) -> Option<String> {
        let part = self.checksum.as_deref().map(checksum::value_text);
        part.or_else(|| (self.range == (0..size)).then(|| checksum::text(object)))
    }
}

impl Gateway {
    /// The version named, or the current one, judged as it was found. `bytes`: its bytes are kept while
    /// the answer is held.
    pub(crate) async fn find(
        &self,
        cx: &RequestContext,
        bucket: &mut Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        bytes: bool,
    ) -> S3Result<Found> {
        let mut at = bucket.clone();
        let lookup = fresh!(
            self,
            cx,
            at,
            self.engine.find(&at, key, version, bytes).await
        )?;
        *bucket = at;
        cx.admitted()?.permits(bucket, &lookup)?;
        match lookup {
            Lookup::Found(found) => Ok(*found),
            Lookup::Marker(id, at) => Err(marker(bucket, version, id, at)),
            Lookup::Missing(refusal) => Err(from_engine(EngineError::Refused(refusal))),
        }
    }

    async fn answer(&self, cx: &RequestContext, mut bucket: Bucket, ask: &Ask) -> S3Result<Answer> {
        if ask.headers.contains_key("x-amz-server-side-encryption") {
            return Err(s3_error!(
                InvalidArgument,
                "x-amz-server-side-encryption header is not supported for this operation."
            ));
        }
        let seen = cx.seen.as_ref();
        let found = match seen.and_then(|seen| seen.take(&ask.key, ask.version)) {
            Some(found) => found,
            None => {
                self.find(cx, &mut bucket, &ask.key, ask.version, true)
                    .await?
            }
        };
        let row = &found.found.row;
        let key = self.sse_for_read(cx, &row.attributes.encryption, &ask.customer)?;
        match ask
            .read
            .judge(&row.etag.to_string(), &seconds(row.order.stamp))
        {
            Verdict::Go => {}
            Verdict::NotModified => return Err(not_modified(&bucket, row)),
            Verdict::Failed => {
                let failed = engine_core::meta::Refusal::PreconditionFailed;
                return Err(from_engine(EngineError::Refused(failed)));
            }
        }
        let extent = self.extent(&found, ask).await?;
        Ok(Answer {
            bucket,
            found,
            extent,
            key,
        })
    }

    async fn extent(&self, found: &Found, ask: &Ask) -> S3Result<Extent> {
        let row = &found.found.row;
        let (size, multipart) = (row.size, matches!(row.body, Body::Manifest(_)));
        if let Some(number) = ask.part {
            if ask.range.is_some() {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
            let part = self
                .engine
                .part_range(found, number)
                .await
                .map_err(from_engine)?;
            let Some((range, count, checksum)) = part else {
                return Err(custom(
                    "InvalidPartNumber",
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "The requested partnumber is not satisfiable",
                ));
            };
            return Ok(Extent {
                partial: range.start < range.end,
                range,
                parts: multipart.then_some(count),
                checksum,
            });
        }
        match ask.range.filter(|_| if_range_holds(&ask.headers, row)) {
            None => Ok(Extent {
                range: 0..size,
                ..Extent::default()
            }),
            Some(asked) => match range::resolve(asked, size) {
                Some(range) => Ok(Extent {
                    range,
                    partial: true,
                    ..Extent::default()
                }),
                None => Err(range::unsatisfiable(size)),
            },
        }
    }
}

/// If-Range: a tag or a date; where it does not hold, the range is ignored.
fn if_range_holds(headers: &HeaderMap, row: &VersionRow) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let text = value.to_str().unwrap_or_default();
    match Timestamp::parse(TimestampFormat::HttpDate, text) {
        Ok(date) => date == seconds(row.order.stamp),
        Err(_not_a_date) => text.trim_matches('"') == row.etag.to_string(),
    }
}

/// Fills what the outputs of GET and HEAD have alike.
macro_rules! fill {
    ($output:expr, $ask:expr, $answer:expr) => {{
        let row = &$answer.found.found.row;
        let extent = &$answer.extent;
        let text = |name: &str| {
            let asked = $ask
                .overrides
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.clone());
            asked.or_else(|| attributes::header(&row.attributes, name))
        };
        $output.accept_ranges = Some("bytes".into());
        $output.cache_control = text("cache-control");
        $output.content_disposition = text("content-disposition");
        $output.content_encoding = text("content-encoding");
        $output.content_language = text("content-language");
        $output.content_type =
            Some(text("content-type").unwrap_or_else(|| DEFAULT_CONTENT_TYPE.into()));
        $output.expires = text("expires");
        $output.website_redirect_location =
            attributes::header(&row.attributes, "x-amz-website-redirect-location");
        $output.content_length = signed(extent.range.end - extent.range.start);
        if extent.partial {
            $output.content_range = Some(range::content_range(&extent.range, row.size));
        }
        $output.e_tag = Some(etag(row.etag));
        $output.last_modified = Some(seconds(row.order.stamp));
        $output.metadata = attributes::metadata(&row.attributes);
        $output.parts_count = extent.parts.map(i32::from);
        $output.storage_class = attributes::class_header(&row.attributes);
        let tags = row.attributes.tags.len();
        $output.tag_count = i32::try_from(tags).ok().filter(|n| *n > 0);
        $output.version_id = read_version(&$answer.bucket, row.version);
        set_sse!($output, &row.attributes.encryption);
        if let Some(checksum) = row.checksum.as_ref().filter(|_| $ask.checksum) {
            if let Some(text) = extent.checksum(checksum, row.size) {
                set_checksum!($output, checksum.algorithm, text);
                $output.checksum_type = Some(checksum::kind(checksum.kind));
            }
        }
    }};
}

/// The output of GET or HEAD but for its bytes, and where those are.
macro_rules! described {
    ($gateway:expr, $cx:expr, $request:expr, $output:ty) => {{
        let ask = ask!($request);
        let input = &$request.input;
        let bucket = $gateway
            .bucket(&$cx, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let answer = $gateway.answer(&$cx, bucket, &ask).await?;
        let mut output = <$output>::default();
        fill!(output, ask, answer);
        (output, answer)
    }};
}

/// GetObject.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let (mut output, answer) = described!(gateway, cx, request, GetObjectOutput);
    let Answer {
        found, extent, key, ..
    } = answer;
    let body = gateway
        .engine
        .read(found, extent.range, key)
        .await
        .map_err(from_engine)?;
    output.body = Some(blob(body));
    Ok(S3Response::new(output))
}

/// HeadObject. A partial one is 206: the front says so, s3s lets no operation choose its status.
pub(crate) async fn head(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let (output, _answer) = described!(gateway, cx, request, HeadObjectOutput);
    Ok(S3Response::new(output))
}

/// The engine's stream as s3s takes it; an error inside cuts the connection.
fn blob(stream: ByteStream) -> StreamingBlob {
    let frames = stream.map_ok(http_body::Frame::data);
    StreamingBlob::from(s3s::Body::http_body_unsync(
        http_body_util::StreamBody::new(frames),
    ))
}
