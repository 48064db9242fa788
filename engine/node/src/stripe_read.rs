//! A range of a stripe's ciphertext: from the data shards that hold it, or rebuilt from any k.
//!
//! Data shards are asked first, since then a contiguous piece comes from one drive. One that errs
//! is rebuilt from k others and reported; one that only takes long is raced by a rebuild. Where that
//! wins, the read is waited for in the background, one a drive: else nobody would ever find a drive
//! silent that is only read from.

use crate::EngineError;
use crate::api::Bucket;
use crate::drives::Drive;
use crate::engine::Inner;
use crate::metrics::RECONSTRUCTIONS;
use bytes::{Bytes, BytesMut};
use engine_core::erasure::{self, Codec};
use engine_core::meta::Stripe;
use engine_core::ports::{DriveError, ShardBytes, StoredShard};
use engine_core::stripes::{ShardPiece, columns, shard_pieces};
use engine_types::{BucketId, DataId, ObjectKey, PartitionId};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// A shard that takes longer is rebuilt from others meanwhile.
pub(crate) const HEDGE_AFTER: Duration = Duration::from_millis(500);

/// Where a stripe is in the metadata; for reports.
#[derive(Clone, Debug)]
pub(crate) struct StripeAt {
    pub(crate) partition: PartitionId,
    pub(crate) bucket: BucketId,
    pub(crate) key: ObjectKey,
    pub(crate) data: DataId,
    pub(crate) stripe: u32,
}

impl StripeAt {
    pub(crate) fn new(bucket: &Bucket, key: &ObjectKey, data: DataId, stripe: u32) -> Self {
        let partition = bucket.reference.partition;
        Self {
            partition,
            bucket: bucket.row.id,
            key: key.clone(),
            data,
            stripe,
        }
    }
}

/// A read under way; it may outlive who asked for it.
type Asked = BoxFuture<'static, Result<StoredShard, DriveError>>;

/// What is to be made of a stripe's other shards.
struct Wanted {
    index: u8,
    range: Range<u32>,
    /// Not to be made of this one either.
    without: Option<u8>,
}

/// Why fewer than k shards of a stripe could be read: what each failure was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// Copies that are not where the map says: it may have changed since it was read.
    pub(crate) moved: usize,
    /// Damaged copies.
    pub(crate) damaged: usize,
    /// On drives that are out of service: they may come back.
    pub(crate) out: usize,
    /// The code that a later release wrote the stripe with.
    unknown_codec: Option<u8>,
}

impl Failures {
    pub(crate) fn count(&mut self, error: &DriveError) {
        match error {
            DriveError::NotFound => self.moved += 1,
            DriveError::Corrupt(_) => self.damaged += 1,
            DriveError::Full
            | DriveError::ReadOnly
            | DriveError::Starved(_)
            | DriveError::Failed(_) => self.out += 1,
        }
    }
    /// For the reader.
    pub(crate) fn error(&self, at: &StripeAt) -> EngineError {
        let StripeAt { data, stripe, .. } = at;
        let Self {
            moved,
            damaged,
            out,
            unknown_codec,
        } = self;
        if let Some(codec) = unknown_codec {
            return EngineError::Unavailable(format!(
                "stripe {stripe} of part {data} is written in code {codec}, which this build does not \
                 know: run the release that wrote it"
            ));
        }
        let what = format!(
            "stripe {stripe} of part {data}: {damaged} shards damaged, {moved} missing, {out} on drives out of service"
        );
        if *out > 0 {
            EngineError::Unavailable(what)
        } else {
            EngineError::DataLost(what)
        }
    }
}

impl Inner {
    /// Whether enough shards of a stripe are on drives in service. Asked before any is read: an
    /// answer that begins with the shards there are would be cut at the first that is not.
    pub(crate) fn enough(&self, at: &StripeAt, stripe: &Stripe) -> Result<(), EngineError> {
        let slots = stripe.slots.iter().flatten();
        let there = slots.filter(|slot| {
            let drive = self.drives.get(slot.drive);
            drive.is_some_and(|drive| drive.readable())
        });
        let (there, needed) = (there.count(), usize::from(stripe.k));
        if there >= needed {
            return Ok(());
        }
        Err(EngineError::Unavailable(format!(
            "stripe {} of part {}: {there} shards on drives in service, {needed} needed",
            at.stripe, at.data
        )))
    }

    /// Shards of a stripe on drives that are out of service and may come back.
    pub(crate) fn awaited(&self, stripe: &Stripe) -> usize {
        let slots = stripe.slots.iter().flatten();
        let awaited = slots.filter(|slot| {
            let readable = self.drives.get(slot.drive).is_some_and(|d| d.readable());
            !readable && !self.drives.is_gone(slot.drive) && !self.drives.is_absent(slot.drive)
        });
        awaited.count()
    }

    /// Ciphertext of `range` of a stripe, as it lies in each shard: uncopied, and the reader's to open
    /// in place. With nothing of shard `avoid`, although that reads: it is rebuilt, and nothing is rebuilt
    /// from it.
    pub(crate) async fn read_pieces(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        range: Range<u32>,
        avoid: Option<u8>,
    ) -> Result<Vec<ShardBytes>, Failures> {
        let pieces = shard_pieces(stripe.length, stripe.k, range);
        let reads = pieces
            .iter()
            .map(|piece| self.read_piece(at, stripe, piece, avoid));
        futures::future::try_join_all(reads).await
    }

    async fn read_piece(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        piece: &ShardPiece,
        avoid: Option<u8>,
    ) -> Result<ShardBytes, Failures> {
        let mut failures = Failures::default();
        let (index, range) = (piece.index, &piece.range);
        let rebuild = async |failures| {
            let wanted = Wanted {
                index,
                range: range.clone(),
                without: avoid,
            };
            let rebuilt = self.make(at, stripe, wanted, failures);
            rebuilt.await.map(ShardBytes::from)
        };
        if avoid == Some(index) {
            failures.damaged += 1;
            return rebuild(failures).await;
        }
        let (drive, mut asked) = match self.ask_shard(stripe, index, range.clone()) {
            Ok(asked) => asked,
            Err(error) => {
                failures.count(&error);
                return rebuild(failures).await;
            }
        };
        let judge = |answer| self.judge((at, stripe, index), range, answer);
        match tokio::time::timeout(self.options.hedge_after, &mut asked).await {
            Ok(answer) => match judge(answer) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    failures.count(&error);
                    return rebuild(failures).await;
                }
            },
            Err(_elapsed) => failures.out += 1,
        }
        match select(asked, pin!(rebuild(failures))).await {
            Either::Left((answer, other)) => match judge(answer) {
                Ok(bytes) => Ok(bytes),
                Err(_) => other.await,
            },
            Either::Right((Ok(bytes), asked)) => {
                self.watch(drive, asked);
                Ok(bytes)
            }
            Either::Right((Err(failures), asked)) => judge(asked.await).map_err(|_error| failures),
        }
    }

    /// One shard's bytes from its drive; errors are reported.
    pub(crate) async fn read_shard(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        index: u8,
        range: Range<u32>,
    ) -> Result<Bytes, DriveError> {
        let bytes = self.shard_bytes(at, stripe, index, range).await?;
        Ok(bytes.freeze())
    }

    async fn shard_bytes(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        index: u8,
        range: Range<u32>,
    ) -> Result<ShardBytes, DriveError> {
        let (_drive, asked) = self.ask_shard(stripe, index, range.clone())?;
        self.judge((at, stripe, index), &range, asked.await)
    }

    fn ask_shard(
        &self,
        stripe: &Stripe,
        index: u8,
        range: Range<u32>,
    ) -> Result<(Arc<Drive>, Asked), DriveError> {
        let slot = stripe.slots.get(usize::from(index)).copied().flatten();
        // Queued for repair already: nothing to report.
        let slot = slot.ok_or_else(|| DriveError::Failed("queued for repair".into()))?;
        let drive = self.drives.get(slot.drive).filter(|drive| drive.readable());
        let drive = drive.ok_or_else(|| DriveError::Failed("out of service".into()))?;
        let (drives, asked) = (Arc::clone(&self.drives), Arc::clone(&drive));
        let read = async move {
            let read = asked.store.read(slot.token, range);
            drives.run(&asked, "read", read).await
        };
        Ok((drive, read.boxed()))
    }

    /// A drive's answer: the bytes asked for, or an error, which is reported.
    fn judge(
        &self,
        (at, stripe, index): (&StripeAt, &Stripe, u8),
        range: &Range<u32>,
        answer: Result<StoredShard, DriveError>,
    ) -> Result<ShardBytes, DriveError> {
        let found = answer.and_then(|shard| {
            let header = &shard.header;
            let same =
                header.data == at.data && header.stripe == at.stripe && header.index == index;
            if same && shard.payload.len() == (range.end - range.start) as usize {
                return Ok(shard.payload);
            }
            Err(DriveError::Corrupt("another shard's bytes".into()))
        });
        if let Err(error) = &found {
            self.report(at, stripe, index, error);
        }
        found
    }

    /// A range of a shard from k others, data shards first.
    async fn make(
        &self,
        at: &StripeAt,
        stripe: &Stripe,
        wanted: Wanted,
        mut failures: Failures,
    ) -> Result<Bytes, Failures> {
        let Wanted {
            index,
            range,
            without,
        } = wanted;
        let (k, m) = (stripe.k, stripe.m);
        let whole = columns(&range);
        let mut sources = (0..k + m).filter(|other| *other != index && Some(*other) != without);
        let read = |other: u8| {
            let whole = whole.clone();
            async move { (other, self.read_shard(at, stripe, other, whole).await) }
        };
        let mut running: FuturesUnordered<_> =
            sources.by_ref().take(usize::from(k)).map(read).collect();
        let mut present: Vec<(u8, Bytes)> = Vec::with_capacity(usize::from(k));
        while let Some((other, answer)) = running.next().await {
            match answer {
                Ok(bytes) => present.push((other, bytes)),
                Err(error) => {
                    failures.count(&error);
                    running.extend(sources.next().map(read));
                }
            }
            if present.len() == usize::from(k) {
                break;
            }
        }
        let Some(codec) = Codec::from_id(stripe.codec) else {
            failures.unknown_codec = Some(stripe.codec);
            return Err(failures);
        };
        let mut out = BytesMut::zeroed((whole.end - whole.start) as usize);
        let present: Vec<(u8, &[u8])> = present.iter().map(|(n, bytes)| (*n, &bytes[..])).collect();
        // Fewer than k were read, and why is counted.
        if erasure::reconstruct(codec, (k, m), &present, &mut [(index, &mut out)]).is_err() {
            return Err(failures);
        }
        metrics::counter!(RECONSTRUCTIONS).increment(1);
        let skip = (range.start - whole.start) as usize;
        Ok(out
            .freeze()
            .slice(skip..skip + (range.end - range.start) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_now_is_not_called_lost() {
        let at = StripeAt {
            partition: PartitionId(1),
            bucket: BucketId(1),
            key: ObjectKey::parse("k").expect("a key"),
            data: DataId([1; 16]),
            stripe: 0,
        };
        let lost = Failures {
            damaged: 3,
            ..Failures::default()
        };
        assert!(matches!(lost.error(&at), EngineError::DataLost(_)));
        let out = Failures {
            out: 1,
            ..lost.clone()
        };
        assert!(matches!(out.error(&at), EngineError::Unavailable(_)));
        let newer = Failures {
            unknown_codec: Some(9),
            ..lost
        };
        let EngineError::Unavailable(why) = newer.error(&at) else {
            panic!("a later release's code is no loss")
        };
        assert!(why.contains("code 9"), "{why}");
    }
}
