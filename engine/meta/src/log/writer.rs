//! The one thread that writes a drive's log.

use super::drive_log::Shared;
use super::index::{GroupIndex, Place};
use super::record::{self, Header, Kind, NO_GROUP};
use super::written::{Done, Written, publish};
use super::{LogError, ROOM_BYTES, new_file};
use crate::raft::codec::{entry_weight, put_entry, put_log_id, put_vote};
use crate::raft::types::{Entry, LogId, Vote};
use engine_core::ports::{DriveFiles, LogFile};
use engine_types::GroupId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Operations waiting for the writer; openraft waits beyond it.
pub(super) const QUEUE_OPS_MAX: usize = 4096;
/// Entry bytes written with one sync at most.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// What a group asks to have written.
#[derive(Debug)]
pub(super) enum Change {
    Append(Vec<Entry>),
    Vote(Vote),
    Truncate(Option<u64>),
    Purge(LogId),
    Committed(LogId),
    Destroy,
}

/// One operation in the queue.
pub(super) enum Op {
    Change {
        index: Arc<GroupIndex>,
        ticket: u64,
        change: Change,
        done: Done,
    },
    Close,
}

pub(super) struct Writer {
    pub files: Arc<dyn DriveFiles>,
    pub shared: Arc<Shared>,
    pub file: Box<dyn LogFile>,
    pub number: u64,
    pub salt: u32,
    pub boot: u64,
    /// Last sequence written, and the last one synced.
    pub sequence: u64,
    pub durable: u64,
    pub prev: u32,
    pub group_sequences: HashMap<u32, u64>,
    pub file_bytes_max: u64,
    pub files_max: usize,
    pub copy_bytes_max: u64,
    /// At which file each group was last asked for a snapshot.
    pub pressed: BTreeMap<GroupId, u64>,
    pub buffer: Vec<u8>,
}

impl Writer {
    /// Until closed or failed; after a failure every operation is answered with it.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        while let Some(first) = queue.blocking_recv() {
            let (batch, close) = gather(first, &mut queue);
            if let Err((error, unheard)) = self.batch(batch) {
                self.fail(&error, unheard, queue);
                return;
            }
            if close {
                if let Err(error) = self.close() {
                    tracing::warn!(drive = %self.files.drive(), %error, "log was not closed cleanly");
                }
                return;
            }
        }
    }

    /// The drive first, then those who wait: whoever hears of the error sees the drive out.
    fn fail(&self, error: &LogError, unheard: Vec<Done>, mut queue: mpsc::Receiver<Op>) {
        self.files.fail(&error.to_string());
        self.shared.fail(error);
        queue.close();
        for done in unheard {
            done.complete(Err(error));
        }
        while let Some(op) = queue.blocking_recv() {
            if let Op::Change { done, .. } = op {
                done.complete(Err(error));
            }
        }
    }

    fn batch(&mut self, batch: Vec<Op>) -> Result<(), (LogError, Vec<Done>)> {
        if self.file.len() > self.file_bytes_max
            && let Err(error) = self.roll()
        {
            let unheard = batch.into_iter().filter_map(|op| match op {
                Op::Change { done, .. } => Some(done),
                Op::Close => None,
            });
            return Err((error, unheard.collect()));
        }
        let base = self.file.len();
        let mut written = Written::default();
        let mut hints_only = true;
        for op in batch {
            if let Op::Change {
                index,
                ticket,
                change,
                done,
            } = op
            {
                if index.is_destroyed() {
                    written.refuse(&change, done);
                    continue;
                }
                let hint = matches!(change, Change::Committed(_));
                #[cfg(sabotage)]
                let hint = hint
                    || (matches!(change, Change::Vote(_))
                        && engine_types::sabotage("skip-vote-fsync"));
                hints_only &= hint;
                self.encode(base, &index, ticket, &change, &mut written);
                written.tickets.push((index, ticket));
                written.done.push(done);
            }
        }
        // Commit hints are written but not worth a sync. Written, because their durable mark is what
        // lets rot in the batch before them be told from a tear.
        let result = if hints_only {
            self.write_out()
        } else {
            self.flush()
        };
        if let Err(error) = result {
            written.done.append(&mut written.refused);
            return Err((error, written.done));
        }
        for index in &written.destroyed {
            self.shared.forget(index);
        }
        publish(written);
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), LogError> {
        self.file.append_with_room(&self.buffer, ROOM_BYTES)?;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.write_out()?;
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-log-fsync") {
            self.durable = self.sequence;
            return Ok(());
        }
        self.file.sync()?;
        self.durable = self.sequence;
        self.shared.synced(self.sequence);
        Ok(())
    }

    /// Writes one record into the buffer; returns its offset there and span.
    pub(super) fn record(
        &mut self,
        group: u32,
        kind: Kind,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> (usize, u32) {
        let start = self.buffer.len();
        self.sequence += 1;
        let group_sequence = if group == NO_GROUP {
            0
        } else {
            let count = self.group_sequences.entry(group).or_default();
            *count += 1;
            *count
        };
        let header = Header {
            sequence: self.sequence,
            durable: self.durable,
            boot: self.boot,
            group,
            kind,
            group_sequence,
        };
        self.prev = record::put(&mut self.buffer, self.salt, self.prev, &header, fill);
        (
            start,
            u32::try_from(self.buffer.len() - start).unwrap_or(u32::MAX),
        )
    }

    /// Puts an entry behind what waits to be flushed; `base` is the length of the file as it is.
    pub(super) fn put(&mut self, base: u64, kind: Kind, group: u32, entry: &Entry) -> Place {
        let (at, span) = self.record(group, kind, |out| put_entry(out, entry));
        Place {
            file: self.number,
            offset: base + at as u64,
            span,
        }
    }

    fn encode(
        &mut self,
        base: u64,
        index: &Arc<GroupIndex>,
        ticket: u64,
        change: &Change,
        written: &mut Written,
    ) {
        let group = index.group.0;
        match change {
            Change::Append(entries) => {
                for entry in entries {
                    let place = self.put(base, Kind::Append, group, entry);
                    written
                        .places
                        .push((Arc::clone(index), entry.log_id.index(), ticket, place));
                }
            }
            Change::Vote(vote) => {
                self.record(group, Kind::Vote, |out| put_vote(out, vote));
                written
                    .states
                    .push((Arc::clone(index), Kind::Vote, self.number));
            }
            Change::Truncate(after) => {
                let next = after.map_or(0, |after| after + 1);
                self.record(group, Kind::Truncate, |out| {
                    out.extend_from_slice(&next.to_le_bytes());
                });
            }
            Change::Purge(upto) => {
                self.record(group, Kind::Purge, |out| put_log_id(out, upto));
                written
                    .states
                    .push((Arc::clone(index), Kind::Purge, self.number));
            }
            Change::Committed(upto) => {
                self.record(group, Kind::Committed, |out| put_log_id(out, upto));
            }
            Change::Destroy => {
                self.record(group, Kind::Destroy, |_| {});
                // Before it is durable: nothing may come behind it in this batch either.
                index.set_destroyed();
                written.destroyed.push(Arc::clone(index));
            }
        }
    }

    /// Begins the next file. All of the last one is synced, and ends with its last record: recovery
    /// rests on that.
    fn roll(&mut self) -> Result<(), LogError> {
        self.flush()?;
        self.end_file()?;
        let number = self.number + 1;
        let Some((file, reader)) = new_file(&*self.files, number)? else {
            return Ok(());
        };
        (self.file, self.number) = (file, number);
        let reader = Arc::new(Mutex::new(reader));
        self.shared.readers.lock().insert(number, reader);
        self.begin()?;
        self.reclaim()
    }

    /// Syncs what is left, without room.
    fn end_file(&mut self) -> Result<(), LogError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-roll-fsync") {
            return Ok(());
        }
        Ok(self.file.truncate(self.file.len())?)
    }

    /// Writes a file's first record.
    pub(super) fn begin(&mut self) -> Result<(), LogError> {
        let (uuid, number) = (self.files.uuid(), self.number);
        self.record(NO_GROUP, Kind::Begin, |out| {
            out.extend_from_slice(&uuid.0);
            out.extend_from_slice(&number.to_le_bytes());
        });
        self.flush()
    }

    /// A last mark, so that rot in the last batch is seen as damage at the next start.
    fn close(&mut self) -> Result<(), LogError> {
        self.record(NO_GROUP, Kind::Mark, |_| {});
        self.flush()?;
        Ok(self.file.truncate(self.file.len())?)
    }
}

fn gather(first: Op, queue: &mut mpsc::Receiver<Op>) -> (Vec<Op>, bool) {
    let mut bytes = 0;
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(op) = next.take() {
        match &op {
            Op::Close => return (batch, true),
            Op::Change {
                change: Change::Append(entries),
                ..
            } => {
                bytes += entries.iter().map(entry_weight).sum::<usize>();
            }
            Op::Change { .. } => {}
        }
        batch.push(op);
        if bytes < BATCH_BYTES_MAX {
            next = queue.try_recv().ok();
        }
    }
    (batch, false)
}
