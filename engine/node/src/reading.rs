//! The pieces of a body as one stream: each is fetched by a task of its own, some ahead of the one that
//! is handed out ([`crate::read_ahead`]).

use crate::body_map::{OpenPart, Source};
use crate::idle_read::copies;
use crate::metrics::BYTES_OUT;
use crate::object_read::{Cursor, fetch};
use crate::pieces::{PLACE_FRAMES, Piece};
use crate::pins::Pin;
use crate::read_ahead::{Places, held};
use crate::{BodyError, ByteStream, EngineError};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// The frames of a piece, none at the end; the cursor, where the task had it.
type Fetched = (Option<Box<Cursor>>, Option<Vec<Bytes>>);

/// The pieces under way, in order, and what follows them.
struct Reading {
    source: Arc<Source>,
    /// None while the last task under way has it.
    cursor: Option<Box<Cursor>>,
    under_way: VecDeque<AbortOnDropHandle<Result<Fetched, EngineError>>>,
}

impl Reading {
    fn new(cursor: Cursor) -> Self {
        Self {
            source: Arc::clone(&cursor.source),
            cursor: Some(Box::new(cursor)),
            under_way: VecDeque::new(),
        }
    }

    /// The first piece's frames, read by whoever waits for them: a task would be one more wake-up, and a
    /// caller that has nothing to hand out yet does not stop polling.
    async fn first(mut self) -> Result<Option<(Vec<Bytes>, Self)>, EngineError> {
        let Some(mut cursor) = self.behind() else {
            return Ok(None);
        };
        let places = cursor.places();
        let first = cursor.next(most_frames(places.as_ref())).await?;
        self.cursor = Some(cursor);
        let Some((part, piece)) = first else {
            return Ok(None);
        };
        self.read_on(0);
        let frames = fetched(&self.source, &part, &piece, places).await?;
        Ok(Some((frames, self)))
    }

    /// The next piece's frames; pieces behind it are read while they are handed out.
    async fn next(mut self) -> Result<Option<(Vec<Bytes>, Self)>, EngineError> {
        if self.under_way.is_empty() {
            let Some(cursor) = self.behind() else {
                return Ok(None);
            };
            let places = cursor.places();
            self.fetch(cursor, places);
        }
        self.read_on(1);
        let Some(task) = self.under_way.pop_front() else {
            return Ok(None);
        };
        let (cursor, frames) = task.await.map_err(|error| stopped(&error))??;
        self.cursor = self.cursor.or(cursor);
        let Some(frames) = frames else {
            return Ok(None);
        };
        self.read_on(0);
        Ok(Some((frames, self)))
    }

    /// The cursor, where it is at hand and something follows.
    fn behind(&mut self) -> Option<Box<Cursor>> {
        self.cursor.take_if(|cursor| !cursor.at_end())
    }

    /// Begins to read as many pieces as there is room for, beside the `awaited`.
    fn read_on(&mut self, awaited: usize) {
        while self.under_way.len() < awaited + self.source.inner.read_share.pieces_ahead() {
            let Some(cursor) = self.behind() else { return };
            match cursor.places() {
                Some(places) => self.fetch(cursor, Some(places)),
                None => return self.cursor = Some(cursor),
            }
        }
    }

    /// Begins to fetch the next piece: as much as there are places for, at least a frame.
    fn fetch(&mut self, mut cursor: Box<Cursor>, places: Option<Places>) {
        let frames = most_frames(places.as_ref());
        let source = Arc::clone(&self.source);
        let task = if let Some((part, piece)) = cursor.at_hand(frames) {
            self.cursor = Some(cursor);
            tokio::spawn(async move {
                let frames = fetched(&source, &part, &piece, places).await?;
                Ok((None, Some(frames)))
            })
        } else {
            tokio::spawn(async move {
                let Some((part, piece)) = cursor.next(frames).await? else {
                    return Ok((Some(cursor), None));
                };
                let frames = fetched(&source, &part, &piece, places).await?;
                Ok((Some(cursor), Some(frames)))
            })
        };
        self.under_way.push_back(AbortOnDropHandle::new(task));
    }
}

/// Frames there are places for, one at least.
fn most_frames(places: Option<&Places>) -> u64 {
    places.map_or(1, |places| PLACE_FRAMES * places.count() as u64)
}

async fn fetched(
    source: &Source,
    part: &OpenPart,
    piece: &Piece,
    mut places: Option<Places>,
) -> Result<Vec<Bytes>, EngineError> {
    if let Some(places) = &mut places {
        places.keep(piece.places());
    }
    let opened = fetch(source, part, piece).await?;
    let frames = piece.plain(part.shape, &opened);
    Ok(match places {
        Some(places) => held(frames, places),
        None => copies(&frames),
    })
}

/// Begins to stream what `cursor` stands before; `pin` lives as long. The first piece is read before
/// this returns, and by the caller itself, who must go on polling.
pub(crate) async fn start(cursor: Cursor, pin: Pin) -> Result<ByteStream, EngineError> {
    Ok(streamed(Reading::new(cursor).first().await?, pin))
}

/// The same for a stream that goes on where another stopped: who polls it may stop at any time.
pub(crate) async fn go_on(cursor: Cursor, pin: Pin) -> Result<ByteStream, EngineError> {
    Ok(streamed(Reading::new(cursor).next().await?, pin))
}

fn streamed(begun: Option<(Vec<Bytes>, Reading)>, pin: Pin) -> ByteStream {
    let (first, reading) = begun.unzip();
    let bytes_out = metrics::counter!(BYTES_OUT);
    let rest = stream::try_unfold(reading, |reading| async {
        let Some(reading) = reading else {
            return Ok(None);
        };
        let next = reading.next().await?;
        Ok::<_, EngineError>(next.map(|(frames, reading)| (frames, Some(reading))))
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
            Ok(bytes) => bytes_out.increment(bytes.len() as u64),
            Err(_) => failed = true,
        }
        std::future::ready(more)
    });
    pinned.boxed()
}

fn stopped(error: &tokio::task::JoinError) -> EngineError {
    EngineError::Internal(format!("reading a piece: {error}"))
}
