//! The appender: the one thread that writes a drive's segments, index and log of frees.
//!
//! It takes what has gathered in its queue as one group: writes each record at the next 4 KiB
//! boundary, then ONE fdatasync, then the index, then the answers. So what is answered with Ok is
//! durable, what the index names is durable, and no range of a segment is written twice. One thread
//! and not one per writer: a drive's fdatasyncs do not overlap, and order makes all of it simple.

mod frees;
mod group;

use crate::drive_file::DriveFile;
use crate::free_log::FreeLog;
use crate::index::Place;
use crate::segment::{ALIGN, corrupt, footer_block};
use crate::shorten::Shortening;
use crate::staging::Staging;
use crate::store::Shared;
use bytes::Bytes;
use engine_core::format::{FooterEntry, RECORD_ALIGN, SegmentFooter, ShardHeader};
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::CopyToken;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes; the asker may have gone.
pub(crate) type Answer = oneshot::Sender<Result<(), DriveError>>;

/// What the appender is asked.
#[derive(Debug)]
pub(crate) enum Op {
    /// Write a shard.
    Append(Box<ShardHeader>, Bytes, Answer),
    /// Free shards.
    Free(Vec<CopyToken>, Answer),
    /// Write a segment's footer anew.
    Reseal(u64, Answer),
    /// Seal, persist the index and end.
    Close(Answer),
}

/// The segment being written.
#[derive(Debug)]
struct Active {
    number: u64,
    file: Arc<DriveFile>,
    /// Preallocated bytes.
    length: u64,
    /// Where the next record begins.
    position: u64,
    /// Up to here everything is durable.
    synced: u64,
    entries: Vec<FooterEntry>,
}

/// A record that is written, but not durable.
struct Pending {
    token: CopyToken,
    place: Place,
    answer: Answer,
}

pub(crate) struct Appender {
    shared: Arc<Shared>,
    active: Option<Active>,
    next_segment: u64,
    frees: FreeLog,
    shortening: Option<Shortening>,
    staging: Staging,
    pending: Vec<Pending>,
}

/// The receiver may have been dropped: that is its right.
pub(crate) fn answer(to: Answer, with: Result<(), DriveError>) {
    if to.send(with).is_err() {
        tracing::trace!("nobody waits for this answer any more");
    }
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, frees: FreeLog, next_segment: u64) -> Self {
        Self {
            frees: frees.bounded(shared.options.frees_bytes),
            shared,
            active: None,
            next_segment,
            shortening: None,
            staging: Staging::default(),
            pending: Vec::new(),
        }
    }

    /// Until `Close`, or until every sender is gone.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        while let Some(first) = queue.blocking_recv() {
            let group = group::gather(first, &mut queue);
            if let Some(closing) = self.work(group) {
                queue.close();
                answer(closing, self.close());
                return;
            }
        }
        // Dropped without close: nothing acknowledged is at stake, the next open scans. To seal here
        // would only hide from every test what a crash does.
    }

    /// Does a group; gives the answer for `Close` if that was asked.
    fn work(&mut self, group: Vec<Op>) -> Option<Answer> {
        let (mut frees, mut closing) = (Vec::new(), None);
        for op in group {
            match op {
                Op::Append(header, payload, to) => self.append(*header, &payload, to),
                Op::Free(tokens, to) => frees.push((tokens, to)),
                Op::Reseal(segment, to) => answer(to, self.shared.reseal(segment).map(drop)),
                Op::Close(to) => closing = Some(to),
            }
        }
        self.settle();
        if !frees.is_empty() {
            let tokens: Vec<CopyToken> = frees
                .iter()
                .flat_map(|(tokens, _)| tokens)
                .copied()
                .collect();
            let done = self.free(&tokens);
            for (_, to) in frees {
                answer(to, done.clone());
            }
        }
        self.shorten_frees();
        closing
    }

    /// Writes one record into the group, or answers why not.
    fn append(&mut self, mut header: ShardHeader, payload: &Bytes, to: Answer) {
        match self.is_known(&header) {
            Ok(false) => {}
            Ok(true) => return answer(to, Ok(())),
            Err(error) => return answer(to, Err(error)),
        }
        let place = match self.reserve(&mut header) {
            Ok(place) => place,
            Err(error) => return answer(to, Err(error)),
        };
        let token = header.token;
        self.pending.push(Pending {
            token,
            place,
            answer: to,
        });
        if let Err(error) = self.write(&header, payload, place) {
            self.abandon(&error);
        }
    }

    /// Whether this copy is stored already (a retry whose first answer was lost). The same token
    /// with other content is refused: a token is written once.
    fn is_known(&self, header: &ShardHeader) -> Result<bool, DriveError> {
        if self
            .pending
            .iter()
            .any(|pending| pending.token == header.token)
        {
            let text = "copy token written twice at once".to_owned();
            return Err(DriveError::Corrupt(text));
        }
        let Some(place) = self.shared.index.get(header.token)? else {
            return Ok(false);
        };
        let stored = self.shared.read_header(header.token, place)?;
        let same = ShardHeader {
            segment: stored.segment,
            offset: stored.offset,
            ..header.clone()
        };
        if same == stored {
            Ok(true)
        } else {
            Err(DriveError::Corrupt("copy token written already".to_owned()))
        }
    }

    /// Finds the record its place; makes a new segment where it does not fit.
    fn reserve(&mut self, header: &mut ShardHeader) -> Result<Place, DriveError> {
        let length = header.record_length();
        let fits =
            |active: &Active| active.position.saturating_add(u64::from(length)) <= active.length;
        if !self.active.as_ref().is_some_and(fits) {
            self.rotate(u64::from(length))?;
        }
        let Some(active) = self.active.as_mut() else {
            return Err(DriveError::Full);
        };
        header.segment = active.number;
        header.offset = active.position;
        let place = Place {
            segment: active.number,
            offset: active.position,
            length,
        };
        active.position = place.end();
        Ok(place)
    }

    fn write(
        &mut self,
        header: &ShardHeader,
        payload: &Bytes,
        place: Place,
    ) -> Result<(), DriveError> {
        let mut head = Vec::with_capacity(RECORD_ALIGN);
        header.encode(&mut head).map_err(|error| corrupt(&error))?;
        match &self.active {
            Some(active) => self.staging.record(&active.file, place, &head, payload),
            None => Err(DriveError::Full),
        }
    }

    /// Makes the group durable, indexes it and answers.
    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.make_durable() {
            Ok(()) => {
                for pending in std::mem::take(&mut self.pending) {
                    answer(pending.answer, Ok(()));
                }
            }
            Err(error) => self.abandon(&error),
        }
    }

    fn make_durable(&mut self) -> Result<(), DriveError> {
        let Some(active) = self.active.as_mut() else {
            return Err(DriveError::Full);
        };
        self.staging.flush(&active.file)?;
        active.file.sync()?;
        active.synced = active.position;
        let mut batch = self.shared.index.batch();
        for pending in &self.pending {
            batch.insert(pending.token, pending.place);
        }
        batch.commit()?;
        let mut space = self.shared.space.lock();
        for pending in &self.pending {
            space.live(pending.place, true);
            active.entries.push(FooterEntry {
                token: pending.token,
                offset: pending.place.offset,
                length: pending.place.length,
            });
        }
        let ahead = active.length.saturating_sub(active.position);
        self.shared.room.set_ahead(ahead);
        Ok(())
    }

    /// A write went wrong: the group is refused, and the segment is not written again (its range
    /// behind the last sync may hold anything).
    fn abandon(&mut self, error: &DriveError) {
        for pending in std::mem::take(&mut self.pending) {
            answer(pending.answer, Err(error.clone()));
        }
        self.staging.forget();
        if let Some(active) = self.active.take() {
            tracing::warn!(segment = active.number, %error, "segment abandoned");
            if let Err(error) = active.file.set_length(active.synced) {
                tracing::debug!(%error, "cut an abandoned segment");
            }
        }
        self.shared.room.set_ahead(0);
        self.shared.space.lock().set_active(None);
    }

    /// Goes on to a new segment in which `record` bytes fit. The old one stays when there is no
    /// room for a new one: smaller records may still go in.
    fn rotate(&mut self, record: u64) -> Result<(), DriveError> {
        let root = Arc::clone(self.shared.files.root());
        let free = self.shared.room.refresh(&root, &self.shared.options)?;
        let least = record.saturating_add(ALIGN);
        let length = self.shared.options.segment_bytes.max(least);
        let length = length.min(free - free % ALIGN);
        if length < least {
            return Err(DriveError::Full);
        }
        self.settle();
        self.seal()?;
        let number = self.next_segment;
        // A number is used once, whatever becomes of the file.
        self.next_segment = number.saturating_add(1);
        let file = self.shared.segments.create(number, length)?;
        let mut batch = self.shared.index.batch();
        batch.set_indexed_below(number);
        batch.commit()?;
        let mut space = self.shared.space.lock();
        space.add(number, ALIGN);
        space.set_active(Some(number));
        drop(space);
        self.shared.room.set_ahead(length.saturating_sub(ALIGN));
        self.shared.room.refresh(&root, &self.shared.options)?;
        self.active = Some(Active {
            number,
            file,
            length,
            position: ALIGN,
            synced: ALIGN,
            entries: Vec::new(),
        });
        Ok(())
    }

    /// Writes the footer of the active segment, durably, and gives back what it did not use.
    fn seal(&mut self) -> Result<(), DriveError> {
        let Some(active) = self.active.take() else {
            return Ok(());
        };
        self.shared.room.set_ahead(0);
        let number = active.number;
        let sealed = self.write_footer(active);
        {
            let mut space = self.shared.space.lock();
            // Whatever came of it: nothing more is written to it here, others may seal it anew.
            space.set_active(None);
            space.hold(number, sealed.as_ref().copied().unwrap_or(0));
        }
        self.shared.wake_reclaimer();
        sealed.map(drop)
    }

    /// Bytes of the footer.
    fn write_footer(&self, active: Active) -> Result<u64, DriveError> {
        let footer = footer_block(&SegmentFooter {
            segment: active.number,
            drive: self.shared.files.uuid(),
            entries: active.entries,
        })?;
        let bytes = footer.bytes();
        let end = active.position.saturating_add(bytes.len() as u64);
        let sealed = active
            .file
            .write_at(bytes, active.position)
            .and_then(|()| active.file.set_length(end))
            .and_then(|()| active.file.sync_footer());
        match sealed {
            Ok(()) => Ok(bytes.len() as u64),
            // Without a footer it is scanned if the index is ever lost.
            Err(DriveError::Full) => active.file.set_length(active.synced).map(|()| 0),
            Err(error) => Err(error),
        }
    }

    /// Seals, and makes the index durable so that the next open need not scan.
    fn close(&mut self) -> Result<(), DriveError> {
        self.shortening = None;
        self.shared.files.root().working()?;
        self.settle();
        self.seal()?;
        let mut batch = self.shared.index.batch();
        batch.set_indexed_below(self.next_segment);
        batch.commit()?;
        self.shared.index.persist()
    }
}
