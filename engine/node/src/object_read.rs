//! A range of a version as [`crate::pieces`], each verified and opened before its first byte is handed
//! out; [`crate::reading`] makes one stream of them.

use crate::api::{CustomerKey, Found};
use crate::body_map::{Located, OpenPart, Source};
use crate::engine::Inner;
use crate::idle_read::{Again, idling};
use crate::metrics::GETS;
use crate::pieces::{Piece, pieces};
use crate::read_ahead::Places;
use crate::reading::{go_on, start};
use crate::sealed::Sealed;
use crate::stripe_read::Failures;
use crate::{ByteStream, EngineError};
use bytes::Bytes;
use engine_core::meta::{Body, BodyStart, MANIFEST_CHUNK_ENTRIES, ManifestEntry};
use engine_core::ports::ShardBytes;
use engine_core::seal::SealError;
use engine_core::stripes::{FRAME_PLAIN, PartShape, shard_pieces};
use engine_types::UploadId;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What is read next.
pub(crate) struct Cursor {
    pub(crate) source: Arc<Source>,
    /// Plaintext still wanted, in the object.
    range: Range<u64>,
    /// Parts that hold it: entries at hand, and the chunk that follows them.
    entries: VecDeque<ManifestEntry>,
    next_chunk: Option<(UploadId, u32)>,
    part: Option<Arc<OpenPart>>,
    pieces: VecDeque<Piece>,
}

/// Begins to stream `range`. The first piece is read before this returns, so that most failures
/// can still be answered with a status.
pub(crate) async fn read(
    inner: &Arc<Inner>,
    found: Found,
    range: Range<u64>,
    customer_key: Option<CustomerKey>,
) -> Result<ByteStream, EngineError> {
    let Found {
        found,
        bucket,
        key,
        pin,
    } = found;
    metrics::counter!(GETS).increment(1);
    let range = range.start..range.end.min(found.row.size);
    let source = Arc::new(Source {
        inner: Arc::clone(inner),
        bucket,
        key,
        customer_key,
        context: crate::keys::context(&found.row.attributes.encryption),
    });
    let (body, first) = match (found.body, &found.row.body) {
        (Some(BodyStart::Part(part)), _) => (BodyAt::Part(Arc::new(source.open(part)?)), None),
        (Some(BodyStart::Manifest(first)), Body::Manifest(upload)) => {
            (BodyAt::Parts(*upload, found.row.etag.parts), Some(first))
        }
        _ => {
            return Err(EngineError::Internal(
                "version was found without its body".into(),
            ));
        }
    };
    let length = range.end.saturating_sub(range.start);
    let cursor = body.cursor(&source, range.clone(), first).await?;
    let stream = start(cursor, pin.clone()).await?;
    if length <= FRAME_PLAIN as u64 {
        return Ok(stream);
    }
    let again: Again = Box::new(move |at| {
        let (body, source, pin) = (body.clone(), Arc::clone(&source), pin.clone());
        let rest = range.start + at..range.end;
        Box::pin(async move { go_on(body.cursor(&source, rest, None).await?, pin).await })
    });
    Ok(idling(inner, stream, again))
}

/// Where a body is found, also when its reader begins again in its middle.
#[derive(Clone)]
enum BodyAt {
    Part(Arc<OpenPart>),
    /// Of this upload, so many.
    Parts(UploadId, u32),
}

impl BodyAt {
    /// Before the first byte of `range`. `first`: the manifest's first chunk, where it is known.
    async fn cursor(
        &self,
        source: &Arc<Source>,
        range: Range<u64>,
        first: Option<Vec<ManifestEntry>>,
    ) -> Result<Cursor, EngineError> {
        let mut cursor = Cursor {
            source: Arc::clone(source),
            range: range.clone(),
            entries: VecDeque::new(),
            next_chunk: None,
            part: None,
            pieces: VecDeque::new(),
        };
        match self {
            Self::Part(part) => {
                cursor.pieces = pieces(part.shape, range);
                cursor.part = Some(Arc::clone(part));
            }
            Self::Parts(upload, parts) => cursor.seek(*upload, *parts, first).await?,
        }
        Ok(cursor)
    }
}

impl Cursor {
    /// Goes to the part that holds the range's first byte.
    async fn seek(
        &mut self,
        upload: UploadId,
        parts: u32,
        first: Option<Vec<ManifestEntry>>,
    ) -> Result<(), EngineError> {
        let start = self.range.start;
        let of = (&self.source.bucket, &self.source.key);
        let find = self
            .source
            .inner
            .find_chunk(of, (upload, parts), first, |entry| entry.offset <= start);
        let (chunk, entries) = find.await?;
        self.set_entries(upload, chunk, entries);
        Ok(())
    }

    fn set_entries(&mut self, upload: UploadId, chunk: u32, entries: Vec<ManifestEntry>) {
        let full = entries.len() as u64 == u64::from(MANIFEST_CHUNK_ENTRIES);
        self.next_chunk = full.then_some((upload, chunk + 1));
        let wanted = |entry: &ManifestEntry| entry.offset + entry.size > self.range.start;
        self.entries = entries.into_iter().filter(wanted).collect();
    }

    /// Nothing follows. Looked at before a task is started for it: most objects are one piece.
    pub(crate) fn at_end(&self) -> bool {
        self.pieces.is_empty() && self.entries.is_empty() && self.next_chunk.is_none()
    }

    /// Places for the next piece, where there is one.
    pub(crate) fn places(&self) -> Option<Places> {
        if self.at_end() {
            return None;
        }
        let wanted = self.pieces.front().map_or(1, Piece::places);
        self.source.inner.read_share.places(wanted)
    }

    /// The next piece of the part that is open, of `frames` frames at most.
    pub(crate) fn at_hand(&mut self, frames: u64) -> Option<(Arc<OpenPart>, Piece)> {
        let part = self.part.as_ref()?;
        let mut piece = self.pieces.pop_front()?;
        if let Some(rest) = piece.split_off(part.shape, frames) {
            self.pieces.push_front(rest);
        }
        Some((Arc::clone(part), piece))
    }

    /// The next piece, of `frames` frames at most; opens the part that it is in.
    pub(crate) async fn next(
        &mut self,
        frames: u64,
    ) -> Result<Option<(Arc<OpenPart>, Piece)>, EngineError> {
        loop {
            if let Some(next) = self.at_hand(frames) {
                return Ok(Some(next));
            }
            if let Some(entry) = self.entries.pop_front() {
                if entry.offset >= self.range.end {
                    return Ok(None);
                }
                let from = self.range.start.saturating_sub(entry.offset);
                let local = from..(self.range.end - entry.offset).min(entry.size);
                self.pieces = PartShape::new(entry.size)
                    .map(|shape| pieces(shape, local))
                    .map_err(|error| EngineError::Internal(error.to_string()))?;
                if let Some(first) = self.pieces.front() {
                    self.part = Some(Arc::new(
                        self.source.open_data(entry.data, first.stripe).await?,
                    ));
                }
            } else if let Some((upload, chunk)) = self.next_chunk.take() {
                let entries = self.source.manifest(upload, chunk).await?;
                self.set_entries(upload, chunk, entries);
            } else {
                return Ok(None);
            }
        }
    }
}

/// Reads, verifies and opens one piece; its frames.
pub(crate) async fn fetch(
    source: &Source,
    part: &OpenPart,
    piece: &Piece,
) -> Result<Vec<Bytes>, EngineError> {
    if let Some(inline) = &part.inline {
        let sealed = Sealed::new(vec![ShardBytes::from(Bytes::copy_from_slice(inline))]);
        let lost = |error| EngineError::DataLost(format!("part {}: {error}", part.data));
        return open(part, piece, sealed).map_err(lost);
    }
    let mut stripe = source.stripe(part, piece.stripe, false).await?;
    source.inner.enough(&stripe.at, &stripe.stripe)?;
    let mut read = sealed_of(source, &stripe, piece, None).await;
    if read.as_ref().is_err_and(|failures| failures.moved > 0) {
        // Moved by a repair or into another pack, perhaps: the row afresh, once. It is the same
        // data id's row.
        stripe = source.stripe(part, piece.stripe, true).await?;
        read = sealed_of(source, &stripe, piece, None).await;
    }
    let sealed = read.map_err(|failures| failures.error(&stripe.at))?;
    match open(part, piece, sealed) {
        Ok(frames) => Ok(frames),
        Err(_not_authentic) => without_liar(source, part, piece, &stripe).await,
    }
}

/// Where a piece's bytes are in the stripe they are in.
fn range_in(stripe: &Located, piece: &Piece) -> Range<u32> {
    let at = |offset: u32| stripe.base.saturating_add(offset);
    at(piece.sealed.start)..at(piece.sealed.end)
}

async fn sealed_of(
    source: &Source,
    stripe: &Located,
    piece: &Piece,
    avoid: Option<u8>,
) -> Result<Sealed, Failures> {
    let range = range_in(stripe, piece);
    let inner = &source.inner;
    let read = inner.read_pieces(&stripe.at, &stripe.stripe, range, avoid);
    read.await.map(Sealed::new)
}

/// The checksums hold and yet the bytes are not authentic: one shard lies, one of those that hold the
/// bytes or one that they were rebuilt from. Each in turn is left out, until the bytes are authentic.
async fn without_liar(
    source: &Source,
    part: &OpenPart,
    piece: &Piece,
    found: &Located,
) -> Result<Vec<Bytes>, EngineError> {
    let Located { at, stripe, .. } = found;
    let inner = &source.inner;
    let holders = shard_pieces(stripe.length, stripe.k, range_in(found, piece)).into_iter();
    let mut order: Vec<u8> = holders.map(|shard| shard.index).collect();
    let others = (0..stripe.k + stripe.m).filter(|other| !order.contains(other));
    order.extend(others.collect::<Vec<u8>>());
    let mut out_of_reach = None;
    for index in order {
        match opened(source, part, piece, (found, Some(index))).await {
            Ok(Some(frames)) => {
                if is_liar(source, part, piece, (found, index)).await {
                    inner.report_liar(at, stripe, index);
                }
                return Ok(frames);
            }
            Ok(None) => {}
            // The shards that would tell are on drives that may come back: nothing is lost yet.
            Err(failures) => {
                out_of_reach = (failures.out > 0).then_some(failures).or(out_of_reach);
            }
        }
    }
    let mut failures = out_of_reach.unwrap_or_default();
    failures.out = failures.out.max(inner.awaited(stripe));
    if failures.out > 0 {
        return Err(failures.error(at));
    }
    Err(EngineError::DataLost(format!(
        "part {}: stripe {} of {} is not authentic",
        part.data, at.stripe, at.data
    )))
}

/// Whether the bytes are authentic without a shard, and not with it, once more: a drive that went or
/// came between two looks would have another blamed, and what is blamed is made anew from the rest.
async fn is_liar(
    source: &Source,
    part: &OpenPart,
    piece: &Piece,
    (found, index): (&Located, u8),
) -> bool {
    let with = opened(source, part, piece, (found, None)).await;
    let without = opened(source, part, piece, (found, Some(index))).await;
    matches!((with, without), (Ok(None), Ok(Some(_))))
}

/// The frames of a piece, read without one shard; none: they are not authentic.
async fn opened(
    source: &Source,
    part: &OpenPart,
    piece: &Piece,
    (found, avoid): (&Located, Option<u8>),
) -> Result<Option<Vec<Bytes>>, Failures> {
    let sealed = sealed_of(source, found, piece, avoid).await?;
    Ok(open(part, piece, sealed).ok())
}

/// Opens every frame of a piece.
fn open(part: &OpenPart, piece: &Piece, sealed: Sealed) -> Result<Vec<Bytes>, SealError> {
    sealed.open(|number, bytes| {
        let frame = piece.frames.start + number;
        let last = part.shape.is_last(frame);
        part.opener.open(frame, last, bytes).map(|_plain| ())
    })
}
