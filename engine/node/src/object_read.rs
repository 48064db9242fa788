//! The stream of a range of a version: pieces of at most [`PIECE_FRAMES`] frames, each verified and
//! opened before its first byte is handed out; [`crate::read_ahead`] says how many are in memory.

use crate::api::{CustomerKey, Found};
use crate::body_map::{Located, OpenPart, Source};
use crate::engine::Inner;
use crate::metrics::{BYTES_OUT, GETS};
use crate::pins::Pin;
use crate::read_ahead::{PLACE_BYTES, Place, held};
use crate::stripe_read::Failures;
use crate::{BodyError, ByteStream, EngineError};
use bytes::{Bytes, BytesMut};
use engine_core::meta::{Body, BodyStart, MANIFEST_CHUNK_ENTRIES, ManifestEntry};
use engine_core::seal::{Opener, SealError};
use engine_core::stripes::{
    FRAME_PLAIN, FRAME_SEALED, PartShape, STRIPE_FRAMES, StripeSlice, shard_pieces,
};
use engine_types::UploadId;
use futures::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Frames of one piece, and what pieces begin at multiples of: 256 KiB of ciphertext, which lies in
/// one data shard where the stripe is full.
pub(crate) const PIECE_FRAMES: u64 = (PLACE_BYTES / FRAME_SEALED) as u64;

/// Whole frames of one stripe, and what of their plaintext is wanted.
#[derive(Clone, Debug)]
struct Piece {
    stripe: u32,
    frames: Range<u64>,
    sealed: Range<u32>,
    skip: usize,
    take: usize,
}

/// What is read next.
struct Cursor {
    source: Arc<Source>,
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
    let mut cursor = Cursor {
        source: Arc::clone(&source),
        range: range.clone(),
        entries: VecDeque::new(),
        next_chunk: None,
        part: None,
        pieces: VecDeque::new(),
    };
    match (found.body, &found.row.body) {
        (Some(BodyStart::Part(part)), _) => {
            let part = Arc::new(source.open(part)?);
            cursor.pieces = pieces(part.shape, range);
            cursor.part = Some(part);
        }
        (Some(BodyStart::Manifest(first)), Body::Manifest(upload)) => {
            cursor.seek(*upload, found.row.etag.parts, first).await?;
        }
        _ => {
            return Err(EngineError::Internal(
                "version was found without its body".into(),
            ));
        }
    }
    start(cursor, pin).await
}

/// What is read and what is to be read.
enum Reading {
    Next(Box<Cursor>),
    Ahead(AbortOnDropHandle<Result<Fetched, EngineError>>),
}

/// The frames of a piece, none at the end; the cursor behind them.
type Fetched = (Box<Cursor>, Option<Vec<Bytes>>);

async fn start(cursor: Cursor, pin: Pin) -> Result<ByteStream, EngineError> {
    let (cursor, first) = ahead(Box::new(cursor)).await.map_err(stopped)??;
    let rest = stream::try_unfold(Reading::Next(cursor), |reading| async move {
        let task = match reading {
            Reading::Next(cursor) if cursor.at_end() => return Ok(None),
            Reading::Next(cursor) => ahead(cursor),
            Reading::Ahead(task) => task,
        };
        let (cursor, frames) = task.await.map_err(stopped)??;
        let Some(frames) = frames else {
            return Ok(None);
        };
        // The next is read while these are handed out, where there is one and room for it.
        let share = &cursor.source.inner.read_share;
        let reading = match (!cursor.at_end()).then(|| share.place()).flatten() {
            Some(place) => Reading::Ahead(fetching(cursor, Some(place))),
            None => Reading::Next(cursor),
        };
        Ok::<_, EngineError>(Some((frames, reading)))
    });
    let all = stream::iter(first.map(Ok)).chain(rest);
    let frames = all.flat_map(|piece| match piece {
        Ok(frames) => stream::iter(frames.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(Box::new(error) as BodyError)]),
    });
    // The pin lives as long as the stream, and no frame follows an error.
    let mut failed = false;
    let pinned = frames.take_while(move |frame| {
        let _held = &pin;
        let more = !failed;
        match frame {
            Ok(bytes) => metrics::counter!(BYTES_OUT).increment(bytes.len() as u64),
            Err(_) => failed = true,
        }
        std::future::ready(more)
    });
    Ok(pinned.boxed())
}

fn stopped(error: tokio::task::JoinError) -> EngineError {
    EngineError::Internal(format!("reading a piece: {error}"))
}

/// Begins to fetch the next piece: a whole one if the share has a place for it, else a frame.
fn ahead(cursor: Box<Cursor>) -> AbortOnDropHandle<Result<Fetched, EngineError>> {
    let place = cursor.source.inner.read_share.place();
    fetching(cursor, place)
}

fn fetching(
    mut cursor: Box<Cursor>,
    place: Option<Place>,
) -> AbortOnDropHandle<Result<Fetched, EngineError>> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let frames = if place.is_some() { PIECE_FRAMES } else { 1 };
        let Some((part, piece)) = cursor.next(frames).await? else {
            return Ok((cursor, None));
        };
        let opened = fetch(&cursor.source, &part, &piece).await?;
        let frames = plain(part.shape, &piece, held(opened, place));
        Ok((cursor, Some(frames)))
    }))
}

impl Cursor {
    /// Goes to the part that holds the range's first byte.
    async fn seek(
        &mut self,
        upload: UploadId,
        parts: u32,
        first: Vec<ManifestEntry>,
    ) -> Result<(), EngineError> {
        let start = self.range.start;
        let of = (&self.source.bucket, &self.source.key);
        let find = self
            .source
            .inner
            .find_chunk(of, (upload, parts), Some(first), |entry| {
                entry.offset <= start
            });
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
    fn at_end(&self) -> bool {
        self.pieces.is_empty() && self.entries.is_empty() && self.next_chunk.is_none()
    }

    /// The next piece, of `frames` frames at most.
    async fn next(&mut self, frames: u64) -> Result<Option<(Arc<OpenPart>, Piece)>, EngineError> {
        loop {
            if let (Some(part), Some(mut piece)) = (&self.part, self.pieces.pop_front()) {
                if let Some(rest) = piece.split_off(part.shape, frames) {
                    self.pieces.push_front(rest);
                }
                return Ok(Some((Arc::clone(part), piece)));
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

impl Piece {
    /// Keeps the first `frames` frames; the rest, if there is any.
    fn split_off(&mut self, shape: PartShape, frames: u64) -> Option<Self> {
        let middle = self.frames.start + frames;
        if middle >= self.frames.end {
            return None;
        }
        let plain: usize = (self.frames.start..middle)
            .map(|frame| shape.frame_plain(frame))
            .sum();
        let at = u32::try_from(frames * FRAME_SEALED as u64).unwrap_or(u32::MAX);
        let mut rest = self.clone();
        rest.frames.start = middle;
        rest.sealed.start = self.sealed.start.saturating_add(at);
        (rest.skip, rest.take) = (0, self.take - (plain - self.skip));
        self.frames.end = middle;
        self.sealed.end = rest.sealed.start;
        self.take = plain - self.skip;
        Some(rest)
    }
}

/// Cuts a range of a part at multiples of [`PIECE_FRAMES`] within each stripe.
fn pieces(shape: PartShape, range: Range<u64>) -> VecDeque<Piece> {
    shape
        .slices(range)
        .flat_map(|slice| cut(shape, &slice))
        .collect()
}

fn cut(shape: PartShape, slice: &StripeSlice) -> Vec<Piece> {
    let base = u64::from(slice.stripe) * STRIPE_FRAMES as u64;
    let (mut frame, mut skip, mut left) = (slice.frames.start, slice.skip, slice.take);
    let mut pieces = Vec::new();
    while frame < slice.frames.end {
        let end = ((frame / PIECE_FRAMES + 1) * PIECE_FRAMES).min(slice.frames.end);
        let plain: usize = (frame..end).map(|frame| shape.frame_plain(frame)).sum();
        let take = left.min(plain - skip);
        let at =
            |frame: u64| u32::try_from((frame - base) * FRAME_SEALED as u64).unwrap_or(u32::MAX);
        let sealed = at(frame)..at(end).min(slice.sealed.end);
        pieces.push(Piece {
            stripe: slice.stripe,
            frames: frame..end,
            sealed,
            skip,
            take,
        });
        (frame, skip, left) = (end, 0, left - take);
    }
    pieces
}

/// Reads, verifies and opens one piece.
async fn fetch(source: &Source, part: &OpenPart, piece: &Piece) -> Result<Bytes, EngineError> {
    if let Some(inline) = &part.inline {
        let mut sealed = BytesMut::from(&inline[..]);
        return match open(&part.opener, part.shape, &piece.frames, &mut sealed) {
            Ok(()) => Ok(sealed.freeze()),
            Err(error) => Err(EngineError::DataLost(format!(
                "part {}: {error}",
                part.data
            ))),
        };
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
    let mut sealed = read.map_err(|failures| failures.error(&stripe.at))?;
    if open(&part.opener, part.shape, &piece.frames, &mut sealed).is_err() {
        sealed = without_liar(source, part, piece, &stripe).await?;
    }
    Ok(sealed.freeze())
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
) -> Result<BytesMut, Failures> {
    let range = range_in(stripe, piece);
    let inner = &source.inner;
    inner.read_sealed(&stripe.at, &stripe.stripe, range, avoid).await
}

/// The checksums hold and yet the bytes are not authentic: one shard lies. Each data shard in turn
/// is rebuilt from the others, until the bytes are authentic.
async fn without_liar(
    source: &Source,
    part: &OpenPart,
    piece: &Piece,
    found: &Located,
) -> Result<BytesMut, EngineError> {
    let Located { at, stripe, .. } = found;
    for shard in shard_pieces(stripe.length, stripe.k, range_in(found, piece)) {
        let read = sealed_of(source, found, piece, Some(shard.index)).await;
        let Ok(mut sealed) = read else { continue };
        if open(&part.opener, part.shape, &piece.frames, &mut sealed).is_ok() {
            let error = engine_core::ports::DriveError::Corrupt("not authentic".into());
            source.inner.report(at, stripe, shard.index, &error);
            return Ok(sealed);
        }
    }
    Err(EngineError::DataLost(format!(
        "part {}: stripe {} of {} is not authentic",
        part.data, at.stripe, at.data
    )))
}

/// Opens every frame in place. On error the bytes are rubbish.
fn open(
    opener: &Opener,
    shape: PartShape,
    frames: &Range<u64>,
    sealed: &mut [u8],
) -> Result<(), SealError> {
    for (frame, bytes) in frames.clone().zip(sealed.chunks_mut(FRAME_SEALED)) {
        opener.open(frame, shape.is_last(frame), bytes)?;
    }
    Ok(())
}

/// The wanted plaintext of opened frames, a slice for each.
fn plain(shape: PartShape, piece: &Piece, opened: Bytes) -> Vec<Bytes> {
    let (mut skip, mut left) = (piece.skip, piece.take);
    let mut slices = Vec::with_capacity(opened.len().div_ceil(FRAME_PLAIN));
    for (number, frame) in piece.frames.clone().enumerate() {
        let length = shape.frame_plain(frame);
        let from = skip.min(length);
        let count = left.min(length - from);
        let start = number * FRAME_SEALED + from;
        if count > 0 {
            slices.push(opened.slice(start..start + count));
        }
        (skip, left) = (skip - from, left - count);
    }
    slices
}
