//! How forms are read: in room that was granted first, and no further than the sender may go.

use super::Fields;
use super::file::{File, MeasuredFile};
use super::multipart::{PREFIX_BYTES_MAX, Prefix, Progress};
use crate::access::denied;
use crate::acl::Permission;
use crate::auth::Auth;
use crate::body::RequestBody;
use crate::documents::RulesCache;
use crate::error::{from_body, from_engine};
use crate::held::{FIELDS_FIRST_BYTES_MAX, Held, What};
use crate::identity::Identity;
use crate::options::FrontOptions;
use crate::request::RequestState;
use futures::StreamExt as _;
use gateway_policy::AclGrant;
use s3s::path::check_bucket_name;
use s3s::{S3Result, s3_error};
use std::net::IpAddr;
use std::ops::ControlFlow;

/// What forms are read and judged with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms<'a> {
    pub(crate) auth: &'a Auth,
    pub(crate) options: &'a FrontOptions,
    pub(crate) held: &'a Held,
    pub(crate) rules: &'a RulesCache,
    pub(crate) state: &'a RequestState,
}

impl Forms<'_> {
    /// Reads up to the file. Who sends is not known yet: see [`What::Fields`].
    pub(super) async fn read_prefix(
        &self,
        pieces: &mut Pieces,
        boundary: &str,
        length: u64,
    ) -> S3Result<Read> {
        read_prefix((self.held, self.state.peer), pieces, boundary, length).await
    }

    /// Refuses what cannot be allowed before the file is read. The PUT is judged whole, and by the one
    /// access check; this only keeps strangers from being listened to where nobody asked them.
    pub(super) async fn admit(&self, identity: &Identity, bucket: &str) -> S3Result<()> {
        if !check_bucket_name(bucket) {
            return Err(s3_error!(
                InvalidBucketName,
                "The specified bucket is not valid."
            ));
        }
        let bucket = self.auth.engine.bucket(bucket).await.map_err(from_engine)?;
        let (owner, who) = (bucket.row.owner, identity.account());
        let rules = self.rules.rules_of(&bucket)?;
        let ignored = rules.block.ignore_public_acls;
        let listed = rules.acls()
            && rules.acl.grants(owner, who, Permission::Write, ignored) != AclGrant::None;
        // What a policy says depends on more than this.
        if who == Some(owner) || listed || rules.compiled().is_some() {
            Ok(())
        } else {
            Err(denied())
        }
    }

    /// The file and its length; room for one that is read whole is kept until the PUT is done.
    pub(super) async fn measured(&self, file: File) -> S3Result<MeasuredFile> {
        let Some(bytes) = file.read_whole() else {
            return Ok(file.streamed());
        };
        let room = self.held.grant(What::Whole, bytes).await?;
        let pace = room.pace();
        self.state.hold(room);
        pace.within(file.whole()).await
    }
}

/// The body's pieces.
pub(super) type Pieces = std::pin::Pin<Box<http_body_util::BodyDataStream<RequestBody>>>;

/// Fields, bytes of the body before the file, what of the file has come already.
pub(super) type Read = (Fields, usize, Vec<u8>);

/// Reads up to the file: first as much as nearly all forms have before it, then what there is.
async fn read_prefix(
    (held, peer): (&Held, Option<IpAddr>),
    pieces: &mut Pieces,
    boundary: &str,
    length: u64,
) -> S3Result<Read> {
    let most = usize::try_from(length).unwrap_or(usize::MAX);
    let most = most.min(PREFIX_BYTES_MAX);
    let first = most.min(FIELDS_FIRST_BYTES_MAX);
    let room = held.grant_stranger(peer, What::Fields, first).await?;
    let reads = read_on(pieces, Prefix::new(boundary), first);
    let prefix = match room.pace().within(reads).await? {
        ControlFlow::Break(read) => return Ok(read),
        ControlFlow::Continue(prefix) => prefix,
    };
    let more = held.grant_stranger(peer, What::More, most - first).await?;
    let reads = read_on(pieces, prefix, usize::MAX);
    match more.pace().within(reads).await? {
        ControlFlow::Break(read) => Ok(read),
        ControlFlow::Continue(prefix) => Err(prefix.ended()),
    }
}

/// Reads up to the file, or until more than `most` bytes are held without one.
async fn read_on(
    pieces: &mut Pieces,
    mut prefix: Prefix,
    most: usize,
) -> S3Result<ControlFlow<Read, Prefix>> {
    while prefix.held() <= most {
        let Some(piece) = pieces.next().await else {
            return Err(prefix.ended());
        };
        let (next, progress) = prefix.feed(&piece.map_err(from_body)?)?;
        prefix = next;
        if let Progress::File {
            fields,
            before,
            rest,
        } = progress
        {
            return Ok(ControlFlow::Break((fields, before, rest)));
        }
    }
    Ok(ControlFlow::Continue(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::BoxError;
    use crate::request::testing;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use std::time::Duration;
    use tokio::time::Instant;

    /// A body of these bytes; one that is not whole stays away from then on.
    fn body(text: String, whole: bool) -> Pieces {
        let begun = futures::stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from(text)))]);
        let stream = if whole {
            begun.boxed()
        } else {
            begun.chain(futures::stream::pending()).boxed()
        };
        let (body, _rest) = RequestBody::new(StreamBody::new(stream), testing::state(), false);
        Box::pin(body.into_data_stream())
    }

    fn form(field_bytes: usize) -> String {
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
        };
        part("key", &"k".repeat(field_bytes)) + &part("file", "body") + "--B--\r\n"
    }

    /// Begins this many forms that never end, all from one address, and waits until they stand still.
    async fn slow(held: &Held, count: usize, text: &str) {
        let begun: Vec<_> = (0..count)
            .map(|_| {
                let (held, mut pieces) = (held.clone(), body(text.to_owned(), false));
                let peer = "10.0.0.1".parse().ok();
                tokio::spawn(async move {
                    let _late = read_prefix((&held, peer), &mut pieces, "B", 400_000).await;
                })
            })
            .collect();
        for _ in 0..begun.len() {
            tokio::task::yield_now().await;
        }
    }

    /// How long an honest form from elsewhere takes.
    async fn honest(held: &Held, text: String) -> S3Result<Duration> {
        let (began, length) = (Instant::now(), text.len() as u64);
        let (peer, mut pieces) = ("10.0.0.2".parse().ok(), body(text, true));
        read_prefix((held, peer), &mut pieces, "B", length).await?;
        Ok(began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn forms_that_announce_much_and_send_little_hold_little() {
        let held = Held::default();
        slow(&held, 400, "--B\r\n").await;
        let took = honest(&held, form(100)).await.expect("room");
        assert_eq!(took, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn forms_of_one_address_do_not_keep_others_out() {
        let held = Held::default();
        slow(&held, 5_000, "--B\r\n").await;
        let took = honest(&held, form(100)).await.expect("room");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn long_fields_get_more_room_and_do_not_keep_short_ones_out() {
        let held = Held::default();
        let long = || form(FIELDS_FIRST_BYTES_MAX + 1);
        assert_eq!(honest(&held, long()).await.expect("room"), Duration::ZERO);
        let begun = form(FIELDS_FIRST_BYTES_MAX)[..FIELDS_FIRST_BYTES_MAX + 10].to_owned();
        slow(&held, 400, &begun).await;
        let short = honest(&held, form(100)).await.expect("room");
        assert_eq!(short, Duration::ZERO);
        let took = honest(&held, long()).await.expect("room");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
