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
use crate::held::{Held, What};
use crate::identity::Identity;
use crate::options::FrontOptions;
use crate::request::RequestState;
use futures::StreamExt as _;
use gateway_policy::AclGrant;
use s3s::path::check_bucket_name;
use s3s::{S3Result, s3_error};

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
    ) -> S3Result<(Fields, usize, Vec<u8>)> {
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = bytes.min(PREFIX_BYTES_MAX);
        let room = self.held.grant(What::Fields, bytes).await?;
        room.pace().within(read_prefix(pieces, boundary)).await
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

async fn read_prefix(pieces: &mut Pieces, boundary: &str) -> S3Result<(Fields, usize, Vec<u8>)> {
    let mut prefix = Prefix::new(boundary);
    while let Some(piece) = pieces.next().await {
        let (next, progress) = prefix.feed(&piece.map_err(from_body)?)?;
        prefix = next;
        if let Progress::File {
            fields,
            before,
            rest,
        } = progress
        {
            return Ok((fields, before, rest));
        }
    }
    Err(prefix.ended())
}
