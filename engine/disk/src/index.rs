//! Where each live shard lies: a fjall keyspace, never synced.
//!
//! Rows (**format**, though it can always be rebuilt):
//! ```text
//! t token            → segment, offset, length      by token
//! o segment offset   → token, length                the same, by place
//! m indexed_below    → segment                      everything in lower segments is in the rows
//! m frees_applied    → generation, bytes            the log of frees is in the rows up to here
//! ```
//! After a power cut fjall keeps a prefix of what was written, or does not open. As marks and rows
//! are in one keyspace and each mark is written behind the rows it speaks of, a prefix never claims
//! more than it holds: what it lacks lies in segments at or above `indexed_below` and in frees
//! beyond `frees_applied`. An index that does not open is removed and made anew.

use crate::drive_dir::DriveDir;
use engine_core::ports::{DriveError, DriveFiles, ShardEntry};
use engine_types::{BirthId, CopyToken, Stamp};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};
use rustix::io::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Its directory on the drive.
pub(crate) const INDEX: &str = "shards/index";
/// Stands while the index must be made anew at the next open.
pub(crate) const REBUILD: &str = "shards/rebuild-index";

/// Rows in memory before they are written to the index's files; fjall's default, 64 MiB, would be as much
/// again on each drive as all requests together may hold.
const MEMTABLE_BYTES: u64 = 2 << 20;
/// fjall counts its batches, has no checksum over a batch's number in the journal, and panics at 2^63: from
/// here on no batch has ever come, but a flipped bit.
const SEQNO_END: u64 = 1 << 62;
const BELOW: &[u8] = b"mindexed_below";
const FREES: &[u8] = b"mfrees_applied";

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl Place {
    /// The byte behind it.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// How far the log of frees has been applied to the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FreesMark {
    /// Which writing of the log.
    pub(crate) generation: u64,
    /// Bytes of it.
    pub(crate) bytes: u64,
}

/// The open index of one drive.
pub(crate) struct Index {
    database: Database,
    rows: Keyspace,
    files: DriveDir,
    /// `indexed_below` goes no higher.
    held_below: AtomicU64,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

/// Why an index did not open.
pub(crate) enum IndexOpen {
    /// Make it anew.
    Damaged(String),
    /// That would not help.
    Fatal(DriveError),
}

fn token_key(token: CopyToken) -> [u8; 17] {
    let mut key = [b't'; 17];
    key[1..].copy_from_slice(&token.0);
    key
}

fn place_key(segment: u64, offset: u64) -> [u8; 17] {
    let mut key = [b'o'; 17];
    key[1..9].copy_from_slice(&segment.to_be_bytes());
    key[9..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

fn decode_place(value: &[u8]) -> Option<Place> {
    Some(Place {
        segment: number(value, 0)?,
        offset: number(value, 8)?,
        length: u32::from_be_bytes(array(value, 16)?),
    })
}

impl Index {
    /// Opens or creates it.
    pub(crate) fn open(files: &DriveDir, cache_bytes: u64) -> Result<Self, IndexOpen> {
        let path = files.directory(INDEX).map_err(IndexOpen::Fatal)?;
        let open = || -> fjall::Result<(Database, Keyspace)> {
            let database = Database::builder(path)
                .cache_size(cache_bytes)
                // With several, one spins while another compacts (fjall 3.1.13, worker_pool.rs).
                .worker_threads(1)
                .max_journaling_size(64 * 1024 * 1024)
                .open()?;
            let rows = database.keyspace("shards", || {
                KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
            })?;
            #[cfg(sabotage)]
            if engine_types::sabotage("index-any-number") {
                return Ok((database, rows));
            }
            if database.seqno() >= SEQNO_END {
                return Err(fjall::Error::Unrecoverable);
            }
            Ok((database, rows))
        };
        // A library that reads what a power cut left may well trip over it.
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok((database, rows))) => Ok(Self {
                database,
                rows,
                files: files.clone(),
                held_below: AtomicU64::new(u64::MAX),
            }),
            Ok(Err(fjall::Error::Locked)) => Err(IndexOpen::Fatal(DriveError::Failed(
                "the drive's shard index is open already".to_owned(),
            ))),
            Ok(Err(error)) => match system_error(&error) {
                Some(errno) => {
                    let error = files.root().sort("open shard index", errno);
                    Err(IndexOpen::Fatal(error))
                }
                None => Err(IndexOpen::Damaged(error.to_string())),
            },
            Err(_) => Err(IndexOpen::Damaged("panic while opening".to_owned())),
        }
    }

    /// A call failed: the index cannot be trusted, so the drive goes out of service, and the next
    /// open makes the index anew.
    fn broken(&self, error: &fjall::Error) -> DriveError {
        if let Err(unmarked) = self.files.write(REBUILD, b"") {
            tracing::warn!(%unmarked, "mark the shard index for rebuilding");
        }
        let text = format!("shard index: {error}");
        self.files.fail(&text);
        DriveError::Failed(text)
    }

    /// A read failed. What the process lacks just now says nothing of the index.
    fn unread(&self, error: &fjall::Error) -> DriveError {
        match system_error(error) {
            Some(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                self.files.root().sort("read shard index", errno)
            }
            _ => self.broken(error),
        }
    }

    fn malformed(&self) -> DriveError {
        self.broken(&fjall::Error::Unrecoverable)
    }

    /// Where a shard lies, if it is live.
    pub(crate) fn get(&self, token: CopyToken) -> Result<Option<Place>, DriveError> {
        let row = self.rows.get(token_key(token));
        match row.map_err(|error| self.unread(&error))? {
            None => Ok(None),
            Some(value) => decode_place(&value)
                .map(Some)
                .ok_or_else(|| self.malformed()),
        }
    }

    /// Whether a shard is live; `Failed` where its row by token and the one by place contradict each
    /// other (`listed`: where a row by place was just seen): the index is then to be made anew.
    pub(crate) fn agrees(
        &self,
        token: CopyToken,
        listed: Option<Place>,
    ) -> Result<bool, DriveError> {
        // Both of one moment: a free takes them in one piece.
        let view = self.database.snapshot();
        let get = |key: &[u8]| {
            view.get(&self.rows, key)
                .map_err(|error| self.unread(&error))
        };
        let names = |place: Place| -> Result<bool, DriveError> {
            let row = get(&place_key(place.segment, place.offset))?;
            Ok(row.is_some_and(|row| {
                array(&row, 0) == Some(token.0)
                    && array(&row, 16).map(u32::from_be_bytes) == Some(place.length)
            }))
        };
        let live = match get(&token_key(token))? {
            Some(value) => Some(decode_place(&value).ok_or_else(|| self.malformed())?),
            None => None,
        };
        let contradicts = match (live, listed) {
            (Some(place), _) => !names(place)?,
            (None, Some(place)) => names(place)?,
            (None, None) => false,
        };
        if contradicts {
            return Err(self.malformed());
        }
        Ok(live.is_some())
    }

    /// Takes one of a shard's two rows away: what the index's own checksums would not tell.
    #[cfg(test)]
    pub(crate) fn lose_row(&self, token: CopyToken, place: Place, by_place: bool) {
        let key = if by_place {
            place_key(place.segment, place.offset)
        } else {
            token_key(token)
        };
        self.rows.remove(key).expect("removes");
    }

    /// Entries in token order, see `ShardStore::entries`.
    pub(crate) fn entries(
        &self,
        after: Option<CopyToken>,
        before: Stamp,
        limit: usize,
    ) -> Result<Vec<ShardEntry>, DriveError> {
        let from = after.map_or(vec![b't'], |token| {
            // The next key behind the token's.
            let mut key = token_key(token).to_vec();
            key.push(0);
            key
        });
        let mut entries = Vec::new();
        for row in self.rows.range(from..vec![b't' + 1]) {
            if entries.len() >= limit {
                break;
            }
            let (key, value) = row.into_inner().map_err(|error| self.unread(&error))?;
            let token = array(&key, 1).map(CopyToken);
            let (Some(token), Some(place)) = (token, decode_place(&value)) else {
                return Err(self.malformed());
            };
            if token.birth() >= before {
                break;
            }
            entries.push(ShardEntry {
                token,
                segment: place.segment,
                offset: place.offset,
                length: place.length,
            });
        }
        Ok(entries)
    }

    /// Calls `each` for live records by place, from `segment` and `offset` on, until it says false.
    pub(crate) fn by_place(
        &self,
        segment: u64,
        offset: u64,
        mut each: impl FnMut(CopyToken, Place) -> bool,
    ) -> Result<(), DriveError> {
        let from = place_key(segment, offset).to_vec();
        for row in self.rows.range(from..vec![b'o' + 1]) {
            let (key, value) = row.into_inner().map_err(|error| self.unread(&error))?;
            let fields = (|| {
                let place = Place {
                    segment: number(&key, 1)?,
                    offset: number(&key, 9)?,
                    length: u32::from_be_bytes(array(&value, 16)?),
                };
                Some((CopyToken(array(&value, 0)?), place))
            })();
            let (token, place) = fields.ok_or_else(|| self.malformed())?;
            if !each(token, place) {
                break;
            }
        }
        Ok(())
    }

    /// What lies in this segment is not all in the rows, whatever is said of it from now on.
    pub(crate) fn hold_below(&self, segment: u64) {
        self.held_below.fetch_min(segment, Ordering::Relaxed);
    }

    /// All records in segments below this one are in the rows.
    pub(crate) fn indexed_below(&self) -> Result<u64, DriveError> {
        let row = self.rows.get(BELOW).map_err(|error| self.unread(&error))?;
        row.map_or(Ok(0), |value| {
            number(&value, 0).ok_or_else(|| self.malformed())
        })
    }

    /// How much of the log of frees is in the rows.
    pub(crate) fn frees_applied(&self) -> Result<FreesMark, DriveError> {
        let row = self.rows.get(FREES).map_err(|error| self.unread(&error))?;
        row.map_or(Ok(FreesMark::default()), |value| {
            let generation = number(&value, 0);
            let bytes = number(&value, 8);
            generation
                .zip(bytes)
                .map(|(generation, bytes)| FreesMark { generation, bytes })
                .ok_or_else(|| self.malformed())
        })
    }

    /// Changes to be made together.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            index: self,
            inner: self.database.batch(),
        }
    }

    /// Makes what has been written durable, so that the next open need not scan.
    pub(crate) fn persist(&self) -> Result<(), DriveError> {
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(|error| self.broken(&error))
    }
}

/// What the system refused, of which a new index would be refused too: no permission, no room, no
/// file handles, EIO. A file that is missing or ends early is damage, and damage only.
fn system_error(error: &fjall::Error) -> Option<Errno> {
    let (fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))) = error
    else {
        return None;
    };
    Errno::from_io_error(error).filter(|errno| *errno != Errno::NOENT && *errno != Errno::INVAL)
}

/// Changes to the index, applied in one piece.
pub(crate) struct Batch<'a> {
    index: &'a Index,
    inner: OwnedWriteBatch,
}

impl Batch<'_> {
    pub(crate) fn insert(&mut self, token: CopyToken, place: Place) {
        let mut value = Vec::with_capacity(20);
        value.extend_from_slice(&place.segment.to_be_bytes());
        value.extend_from_slice(&place.offset.to_be_bytes());
        value.extend_from_slice(&place.length.to_be_bytes());
        self.inner.insert(&self.index.rows, token_key(token), value);
        let mut value = Vec::with_capacity(20);
        value.extend_from_slice(&token.0);
        value.extend_from_slice(&place.length.to_be_bytes());
        let key = place_key(place.segment, place.offset);
        self.inner.insert(&self.index.rows, key, value);
    }

    pub(crate) fn remove(&mut self, token: CopyToken, place: Place) {
        self.inner.remove(&self.index.rows, token_key(token));
        let key = place_key(place.segment, place.offset);
        self.inner.remove(&self.index.rows, key);
    }

    pub(crate) fn set_indexed_below(&mut self, segment: u64) {
        let held = self.index.held_below.load(Ordering::Relaxed);
        let value = segment.min(held).to_be_bytes().to_vec();
        self.inner.insert(&self.index.rows, BELOW, value);
    }

    pub(crate) fn set_frees_applied(&mut self, mark: FreesMark) {
        let mut value = mark.generation.to_be_bytes().to_vec();
        value.extend_from_slice(&mark.bytes.to_be_bytes());
        self.inner.insert(&self.index.rows, FREES, value);
    }

    pub(crate) fn commit(self) -> Result<(), DriveError> {
        let index = self.index;
        self.inner.commit().map_err(|error| index.broken(&error))
    }
}
