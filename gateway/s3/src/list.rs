//! ListObjects, both versions, and what all listings share: limits, encoding, owners.

use crate::checksum;
use crate::gateway::{Gateway, RequestContext, fresh, signed};
use crate::token;
use crate::translate::{etag, time, url_encode};
use crate::xml;
use engine_core::meta::{ListPage, ListQuery, VersionRow};
use engine_types::{AccountId, Checksum, ObjectKey};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Most entries of a page.
pub(crate) const PAGE_MAX: i32 = 1000;

/// A page's size as asked: clamped above, refused below. 0 is an empty page.
pub(crate) fn page_size(asked: Option<i32>, name: &str) -> S3Result<i32> {
    match asked {
        None => Ok(PAGE_MAX),
        Some(0..) => Ok(asked.unwrap_or(PAGE_MAX).min(PAGE_MAX)),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "Argument {name} must be an integer between 0 and 2147483647"
        )),
    }
}

/// Takes a [`ListQuery`] from a DTO of s3s, what to begin after and the page's size.
macro_rules! list_query {
    ($input:expr, $after:expr, $size:expr) => {
        engine_core::meta::ListQuery {
            prefix: $input.prefix.clone().unwrap_or_default(),
            delimiter: $input.delimiter.clone().unwrap_or_default(),
            after: $after,
            limit: u32::try_from($size).unwrap_or_default(),
        }
    };
}
pub(crate) use list_query;

/// How names are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Encoding {
    url: bool,
}

impl Encoding {
    pub(crate) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some("url") => Ok(Self { url: true }),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }
    pub(crate) fn write(self, name: &str) -> String {
        if self.url {
            url_encode(name)
        } else {
            name.to_owned()
        }
    }
    pub(crate) fn dto(self) -> Option<EncodingType> {
        self.url
            .then(|| EncodingType::from_static(EncodingType::URL))
    }
    pub(crate) fn prefixes(self, prefixes: &[String]) -> Option<CommonPrefixList> {
        let dto = |p: &String| CommonPrefix {
            prefix: Some(self.write(p)),
        };
        (!prefixes.is_empty()).then(|| prefixes.iter().map(dto).collect())
    }
}

/// An empty delimiter or prefix is none.
pub(crate) fn filled(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

/// A checksum's algorithm as listings name it.
pub(crate) fn algorithms(checksum: Option<&Checksum>) -> Option<ChecksumAlgorithmList> {
    let name = checksum::name(checksum?.algorithm);
    Some(vec![ChecksumAlgorithm::from_static(name)])
}

/// Owners of a page's entries, each looked up once.
pub(crate) type Owners = BTreeMap<AccountId, Owner>;

impl Gateway {
    /// Looks `ids` up.
    pub(crate) async fn owners(&self, ids: impl Iterator<Item = AccountId>) -> S3Result<Owners> {
        let mut owners = Owners::new();
        for id in ids {
            if let Entry::Vacant(unknown) = owners.entry(id) {
                unknown.insert(self.owner(id).await?);
            }
        }
        Ok(owners)
    }

    /// A page; an empty one where none is asked for.
    async fn page(
        &self,
        cx: &RequestContext,
        bucket: &mut engine_node::Bucket,
        query: ListQuery,
    ) -> S3Result<ListPage> {
        if query.limit == 0 {
            return Ok(ListPage::default());
        }
        let mut current = bucket.clone();
        let page = fresh!(
            self,
            cx,
            current,
            self.engine.list(&current, query.clone()).await
        )?;
        *bucket = current;
        Ok(page)
    }

    async fn contents(
        &self,
        page: &ListPage,
        encoding: Encoding,
        with_owner: bool,
    ) -> S3Result<Option<ObjectList>> {
        let rows = || page.objects.iter().filter(|_| with_owner);
        let owners = self
            .owners(rows().map(|(_, row)| row.attributes.owner))
            .await?;
        let object = |(key, row): &(ObjectKey, VersionRow)| Object {
            checksum_algorithm: algorithms(row.checksum.as_ref()),
            checksum_type: row.checksum.as_ref().map(|c| checksum::kind(c.kind)),
            e_tag: Some(etag(row.etag)),
            key: Some(encoding.write(key.as_str())),
            last_modified: Some(time(row.order.stamp)),
            owner: owners.get(&row.attributes.owner).cloned(),
            restore_status: None,
            size: signed(row.size),
            storage_class: Some(row.attributes.class.as_str().to_owned().into()),
        };
        Ok((!page.objects.is_empty()).then(|| page.objects.iter().map(object).collect()))
    }
}

/// ListObjects.
pub(crate) async fn v1(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "max-keys")?;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let query = list_query!(input, filled(input.marker.as_ref()).cloned(), size);
    let page = gateway.page(&cx, &mut bucket, query).await?;
    let delimiter = filled(input.delimiter.as_ref());
    // Without a delimiter the last key is the next marker, and AWS sends none.
    let next_marker = page.next.as_deref().filter(|_| delimiter.is_some());
    let output = ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(encoding.write(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(size),
        is_truncated: Some(page.next.is_some()),
        contents: gateway.contents(&page, encoding, true).await?,
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: delimiter.map(|d| encoding.write(d)),
        next_marker: next_marker.map(|n| encoding.write(n)),
        encoding_type: encoding.dto(),
        request_charged: None,
    };
    xml::answer(&cx.state, &output)
}

/// ListObjectsV2.
pub(crate) async fn v2(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "max-keys")?;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let scope = bucket.row.id.0;
    let resumed = input
        .continuation_token
        .as_deref()
        .map(|t| token::decode(scope, t))
        .transpose()?;
    let query = list_query!(
        input,
        resumed.or_else(|| filled(input.start_after.as_ref()).cloned()),
        size
    );
    let page = gateway.page(&cx, &mut bucket, query).await?;
    let with_owner = input.fetch_owner.unwrap_or(false);
    let count = page.objects.len() + page.prefixes.len();
    let output = ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.write(input.prefix.as_deref().unwrap_or_default())),
        max_keys: Some(size),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_deref().map(|next| token::encode(scope, next)),
        contents: gateway.contents(&page, encoding, with_owner).await?,
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: filled(input.delimiter.as_ref()).map(|d| encoding.write(d)),
        encoding_type: encoding.dto(),
        start_after: input.start_after.map(|s| encoding.write(&s)),
        request_charged: None,
    };
    xml::answer(&cx.state, &output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_clamped_above_and_refused_below() {
        for (asked, size) in [
            (None, Some(PAGE_MAX)),
            (Some(0), Some(0)),
            (Some(1), Some(1)),
            (Some(PAGE_MAX), Some(PAGE_MAX)),
            (Some(PAGE_MAX + 1), Some(PAGE_MAX)),
            (Some(i32::MAX), Some(PAGE_MAX)),
            (Some(-1), None),
        ] {
            assert_eq!(page_size(asked, "max-keys").ok(), size, "{asked:?}");
        }
    }

    #[test]
    fn only_url_encoding_is_known() {
        let of = |text: &str| Encoding::of(Some(&EncodingType::from(text.to_owned())));
        assert_eq!(of("url").expect("url").write("a b"), "a%20b");
        assert_eq!(Encoding::of(None).expect("none").write("a b"), "a b");
        assert_eq!(
            of("URL").expect_err("refused").code().as_str(),
            "InvalidArgument"
        );
    }
}
