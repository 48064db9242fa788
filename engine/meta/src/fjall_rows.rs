//! The tables of one drive: one fjall Database, unsynced, one keyspace per replica generation.
//!
//! Tables are a cache: snapshot and log are the truth. fjall is therefore never asked to sync, and a
//! Database that refuses to open (one torn journal page is enough) is deleted and every replica of
//! the drive rebuilt. What is rested on, and tested in `tests/replication/fjall_promises.rs`: a
//! batch within one keyspace is atomic after reopen, and what is lost is a suffix. So every batch
//! also writes the `applied` row, and a keyspace without that row holds nothing.
//!
//! The journal is not compressed: what is large in it is sealed, and does not get smaller. A start
//! reads all journals of the drive, so they are bounded ([`JOURNALS_BYTES_MAX`]), and a clean stop
//! leaves none to read (`journals.rs`).

use crate::journals;
use crate::rows::{Changes, Row, Rows, RowsError};
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::GroupId;
use fjall::config::PartitioningPolicy;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    OwnedWriteBatch, Readable, Snapshot,
};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// fjall counts its batches, has no checksum over a batch's number in the journal, and panics at 2^63: from
/// here on no batch has ever come, but a flipped bit.
const SEQNO_END: u64 = 1 << 62;
/// Where the Database lies on the drive.
pub const DIRECTORY: &str = "tables";
/// First byte of the replication layer's own rows; the state's table tags begin above it.
pub const OWN_TAG: u8 = 0;
/// The row every batch writes: what the tables hold.
pub const APPLIED_KEY: &[u8] = &[OWN_TAG, b'a'];
/// Values from this size on are kept apart from keys (**format**).
const SEPARATE_BYTES_MIN: u32 = 1024;
/// Rows written in one batch while a snapshot is loaded.
const LOAD_BATCH_BYTES: usize = 1 << 20;

/// Once a drive's sealed journals take so much, fjall writes out the memtables that its oldest is kept
/// for, and drops it. One journal is as long, so a start reads up to twice this: a sealed one, and the
/// one in use. It is the least that fjall takes; at its default there would be eight, because control,
/// to which next to nothing is written, fills no memtable by itself.
pub const JOURNALS_BYTES_MAX: u64 = 64 << 20;

/// Settings of a drive's tables.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions {
    /// Block cache, bytes.
    pub cache_bytes: u64,
    /// Memtable of one replica, bytes.
    pub memtable_bytes: u64,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            // A node holds some 45 replicas on six drives, and is to stay below 500 MB with all
            // memtables full, which take twice their nominal size, and every request budget in use.
            cache_bytes: 8 << 20,
            memtable_bytes: 2 << 20,
        }
    }
}

impl From<fjall::Error> for RowsError {
    fn from(error: fjall::Error) -> Self {
        Self(error.to_string())
    }
}

/// A drive's Database.
pub struct Tables {
    database: Database,
    directory: PathBuf,
    options: TableOptions,
    /// The old Database refused to open; every replica must be rebuilt.
    pub rebuilt: bool,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables")
            .field("rebuilt", &self.rebuilt)
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// Opens the drive's Database; one that refuses is deleted and begun anew. Blocking.
    pub fn open(files: &dyn DriveFiles, options: TableOptions) -> Result<Self, DriveError> {
        let failed = |error: fjall::Error| DriveError::Failed(format!("tables: {error}"));
        let directory = files.directory(DIRECTORY)?;
        match open(&directory, options) {
            Ok(database) => Ok(Self {
                database,
                directory,
                options,
                rebuilt: false,
            }),
            // Somebody (a reader of the last life of this drive) still holds it: not damage.
            Err(error @ fjall::Error::Locked) => Err(failed(error)),
            Err(error) => {
                tracing::warn!(drive = %files.drive(), %error, "tables refused to open: rebuilding");
                files.remove(DIRECTORY)?;
                let directory = files.directory(DIRECTORY)?;
                let database = open(&directory, options).map_err(failed)?;
                Ok(Self {
                    database,
                    directory,
                    options,
                    rebuilt: true,
                })
            }
        }
    }

    /// The keyspace of a replica generation, created where absent. Blocking.
    pub fn generation(&self, group: GroupId, generation: u64) -> Result<Table, RowsError> {
        // It makes what directories are missing, also where the drive has just been taken from its path.
        if !self.directory.is_dir() {
            let gone = format!("{} is gone", self.directory.display());
            return Err(RowsError(gone));
        }
        let memtable = self.options.memtable_bytes;
        let keyspace = self.database.keyspace(&name(group, generation), || {
            // A look-up reads one piece of a filter and of an index. Below its fourth level fjall keeps
            // them whole, hundreds of kB a table, and reads them anew where the cache is small.
            let pieces = PartitioningPolicy::new([false, true]);
            KeyspaceCreateOptions::default()
                .filter_block_partitioning_policy(pieces.clone())
                .index_block_partitioning_policy(pieces)
                .max_memtable_size(memtable)
                .manual_journal_persist(true)
                .with_kv_separation(Some(
                    KvSeparationOptions::default()
                        // Of any age: a part of the oldest, its default, is none of few.
                        .age_cutoff(1.0)
                        .separation_threshold(SEPARATE_BYTES_MIN),
                ))
        })?;
        Ok(Table {
            database: self.database.clone(),
            keyspace,
        })
    }

    /// Drops every generation of `group` but `keep`. Blocking.
    pub fn drop_others(&self, group: GroupId, keep: Option<u64>) -> Result<(), RowsError> {
        let kept = keep.map(|generation| name(group, generation));
        let prefix = format!("g{group}-");
        for found in self.database.list_keyspace_names() {
            let found: &str = found.as_ref();
            if found.starts_with(&prefix) && Some(found) != kept.as_deref() {
                let keyspace = self
                    .database
                    .keyspace(found, KeyspaceCreateOptions::default)?;
                self.database.delete_keyspace(keyspace)?;
            }
        }
        Ok(())
    }

    /// Drops one generation, if there. Blocking.
    pub fn drop_generation(&self, group: GroupId, generation: u64) -> Result<(), RowsError> {
        let name = name(group, generation);
        if self.database.keyspace_exists(&name) {
            let keyspace = self
                .database
                .keyspace(&name, KeyspaceCreateOptions::default)?;
            self.database.delete_keyspace(keyspace)?;
        }
        Ok(())
    }

    /// Has what is in memory of all replicas written to the tables' files; whether nothing was left
    /// to write. To be asked until it is so. Blocking.
    pub fn write_out(&self) -> Result<bool, RowsError> {
        // Says so where fjall has given up, and would write nothing out however long one waits.
        self.database.persist(fjall::PersistMode::Buffer)?;
        let mut left = false;
        for name in self.database.list_keyspace_names() {
            let options = KeyspaceCreateOptions::default;
            let keyspace = self.database.keyspace(&name, options)?;
            left |= keyspace.rotate_memtable()? || keyspace.sealed_memtable_count() > 0;
        }
        Ok(!left)
    }

    /// Writes journals out, so that the next start rolls less forward, or marks them to be thrown
    /// away where all is [written out](Self::write_out). The last act of a clean stop; not a
    /// promise. Blocking.
    pub fn flush(&self) -> Result<(), RowsError> {
        self.database.persist(fjall::PersistMode::SyncData)?;
        if self.write_out()? {
            journals::mark(&self.directory).map_err(|error| RowsError(error.to_string()))?;
        }
        Ok(())
    }
}

fn open(path: &Path, options: TableOptions) -> fjall::Result<Database> {
    journals::forget_marked(path)?;
    Database::builder(path)
        .max_journaling_size(JOURNALS_BYTES_MAX)
        .cache_size(options.cache_bytes)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        // Of several the first only flushes, and what there is to compact it puts back where it takes
        // from: as long as another compacts it spins, which was a fifth of the processor time of small
        // PUTs. With one a memtable grows while a compaction lasts, and those are short: of keys and
        // pointers, because values are apart.
        .worker_threads(1)
        .open()
        .and_then(counted)
}

fn counted(database: Database) -> fjall::Result<Database> {
    #[cfg(sabotage)]
    if engine_types::sabotage("tables-any-number") {
        return Ok(database);
    }
    if database.seqno() >= SEQNO_END {
        return Err(fjall::Error::Unrecoverable);
    }
    Ok(database)
}

fn name(group: GroupId, generation: u64) -> String {
    format!("g{group}-{generation}")
}

/// One generation of one replica's tables.
#[derive(Clone)]
pub struct Table {
    database: Database,
    keyspace: Keyspace,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

impl Table {
    /// Writes changes and the `applied` row in one batch: after a stop of any kind all of it is
    /// there or none.
    pub fn write(&self, changes: &Changes, applied: &[u8]) -> Result<(), RowsError> {
        let rows = changes.0.len() + 1;
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), rows);
        for (key, value) in &changes.0 {
            match value {
                Some(value) => batch.insert(&self.keyspace, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.keyspace, key.as_slice()),
            }
        }
        batch.insert(&self.keyspace, APPLIED_KEY, applied);
        Ok(batch.commit()?)
    }

    /// Fills an empty generation: rows first, `applied` last, so that a cut load holds nothing.
    pub fn load(
        &self,
        rows: impl Iterator<Item = Result<Row, RowsError>>,
        applied: &[u8],
    ) -> Result<(), RowsError> {
        let (mut batch, mut bytes) = (self.database.batch(), 0);
        for row in rows {
            let (key, value) = row?;
            bytes += key.len() + value.len();
            batch.insert(&self.keyspace, key, value);
            if bytes > LOAD_BATCH_BYTES {
                std::mem::replace(&mut batch, self.database.batch()).commit()?;
                bytes = 0;
            }
        }
        batch.insert(&self.keyspace, APPLIED_KEY, applied);
        Ok(batch.commit()?)
    }

    /// A view of this moment.
    pub fn view(&self) -> TableView {
        TableView {
            snapshot: self.database.snapshot(),
            keyspace: self.keyspace.clone(),
        }
    }

    /// Bytes on the drive, roughly.
    pub fn bytes(&self) -> u64 {
        self.keyspace.disk_space()
    }

    /// Has what is in memory written to the tables' files.
    pub fn seal(&self) -> Result<(), RowsError> {
        Ok(self.keyspace.rotate_memtable().map(drop)?)
    }

    /// Whether that goes on.
    pub fn sealing(&self) -> bool {
        self.keyspace.sealed_memtable_count() > 0
    }

    /// Gives back what deleted and replaced rows take in the files. Blocking: all keys are written
    /// anew, and value files of which a part is dead.
    pub fn compact(&self) -> Result<(), RowsError> {
        // The first finds which values are dead, and drops the files that hold no other.
        self.keyspace.major_compact()?;
        Ok(self.keyspace.major_compact()?)
    }
}

/// A replica's rows at one moment.
pub struct TableView {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl std::fmt::Debug for TableView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableView").finish_non_exhaustive()
    }
}

impl TableView {
    /// The `applied` row.
    pub fn applied(&self) -> Result<Option<Vec<u8>>, RowsError> {
        self.get(APPLIED_KEY)
    }

    /// Every row of the state, ascending.
    pub fn state_rows(&self) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + '_> {
        let from = Bound::Included(vec![OWN_TAG + 1]);
        Box::new(
            self.snapshot
                .range(&self.keyspace, (from, Bound::Unbounded))
                .map(row),
        )
    }
}

fn row(guard: fjall::Guard) -> Result<Row, RowsError> {
    let (key, value) = guard.into_inner()?;
    Ok((key.to_vec(), value.to_vec()))
}

impl Rows for TableView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self
            .snapshot
            .get(&self.keyspace, key)?
            .map(|value| value.to_vec()))
    }

    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        let from = from.map(<[u8]>::to_vec);
        let start = match &from {
            Bound::Included(key) | Bound::Excluded(key) => key.as_slice(),
            Bound::Unbounded => &[],
        };
        if start >= to {
            // fjall panics on an inverted range.
            return Box::new(std::iter::empty());
        }
        Box::new(
            self.snapshot
                .range(&self.keyspace, (from, Bound::Excluded(to.to_vec())))
                .map(row),
        )
    }
}

/// Shared tables of a drive.
pub type SharedTables = Arc<Tables>;
