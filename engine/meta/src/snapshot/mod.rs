//! A replica's snapshots: our own files (**format**), sorted rows behind checksums, synced, and
//! verified whole before tables are made of one. The same file is what openraft streams.
//!
//! `snapshots/g<group>/<index>-<term>.snap`: a head block, row blocks, a foot block. Each block:
//! `length u32, crc32c u32, payload`. Head payload: magic, version, group, [`Applied`]. Row block:
//! `key length u32, value length u32, key, value` repeated. Foot: count of rows, CRC32C of all that
//! comes before it. Written under `.tmp` and renamed, so a name without it is a finished file; yet
//! it is verified again before use, because finished files rot too.
//!
//! Two are kept and the log is purged below the older only: a damaged newest one costs a longer roll
//! forward, not the data. Of the older only the head is read then. It was whole when it was synced, and
//! the scrub reads both from end to end; to read it again each time would double what a snapshot costs,
//! and would keep no more: below it there is nothing that the log could be applied to.

mod reader;

pub use crate::applied::Applied;
use crate::log::record::crc32c;
use crate::raft::types::term_of;
use crate::rows::{Row, RowsError};
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_types::GroupId;
pub use reader::Reader;
use std::sync::Arc;

/// Snapshots kept per replica.
pub const KEPT: usize = 2;
const MAGIC: &[u8; 8] = b"DMmetaSn";
const VERSION: u8 = 1;
/// Rows are gathered to blocks of about this size.
const BLOCK_BYTES: usize = 256 << 10;
/// Longest block read: one row may be large.
const BLOCK_BYTES_MAX: usize = 64 << 20;
const COPY_BYTES: usize = 1 << 20;
/// Ends the name of one that is being written.
const ASIDE: &str = ".tmp";
const HEAD: u8 = 1;
const ROWS: u8 = 2;
const FOOT: u8 = 3;

/// A snapshot that cannot be written or rested on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The drive.
    #[error("snapshot: {0}")]
    Drive(#[from] DriveError),
    /// The tables it is made of.
    #[error("snapshot: {0}")]
    Rows(#[from] RowsError),
    /// Its checksums or shape do not hold.
    #[error("snapshot {0} damaged: {1}")]
    Damaged(String, &'static str),
    /// Sound, but of a version this build does not know: never removed as damage is.
    #[error(
        "snapshot {0} was written by a newer DataMesh (version {1}; this build reads up to {known}): \
         run that release",
        known = VERSION
    )]
    Newer(String, u8),
}

impl From<SnapshotError> for std::io::Error {
    fn from(error: SnapshotError) -> Self {
        Self::other(error)
    }
}

/// A finished snapshot on some drive: a handle, not the bytes.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// The drive it lies on.
    pub files: Arc<dyn DriveFiles>,
    /// Its name there.
    pub name: String,
    /// What it covers.
    pub applied: Applied,
}

fn directory(group: GroupId) -> String {
    format!("snapshots/g{group}")
}

fn name_of(group: GroupId, applied: &Applied) -> String {
    let (index, term) = (applied.index(), applied.last.as_ref().map_or(0, term_of));
    format!("{}/{index:020}-{term:020}.snap", directory(group))
}

/// The index a snapshot's name says it covers.
pub fn index_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.split('-').next()?.parse().ok()
}

struct Sink {
    file: Box<dyn LogFile>,
    sum: crc_fast::Digest,
}

impl Sink {
    fn block(&mut self, kind: u8, payload: &[u8]) -> Result<(), DriveError> {
        let mut block = Vec::with_capacity(payload.len() + 9);
        block.extend_from_slice(
            &u32::try_from(payload.len() + 1)
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        block.extend_from_slice(&[0; 4]);
        block.push(kind);
        block.extend_from_slice(payload);
        let crc = crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        self.sum.update(&block);
        self.file.append(&block)
    }

    fn total(&self) -> u32 {
        u32::try_from(self.sum.finalize() & 0xffff_ffff).unwrap_or(0)
    }
}

fn summer() -> crc_fast::Digest {
    crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi)
}

/// Writes, syncs and names a snapshot of `rows`. Blocking.
pub fn write(
    files: &Arc<dyn DriveFiles>,
    group: GroupId,
    applied: &Applied,
    rows: impl Iterator<Item = Result<Row, RowsError>>,
) -> Result<SnapshotFile, SnapshotError> {
    let name = name_of(group, applied);
    let aside = format!("{name}{ASIDE}");
    files.remove(&aside)?;
    let mut sink = Sink {
        file: files.open_log(&aside)?,
        sum: summer(),
    };
    let mut head = MAGIC.to_vec();
    head.push(VERSION);
    head.extend_from_slice(&group.0.to_le_bytes());
    head.extend_from_slice(&applied.encode());
    sink.block(HEAD, &head)?;
    let (mut block, mut count) = (Vec::with_capacity(BLOCK_BYTES), 0_u64);
    for row in rows {
        let (key, value) = row?;
        for part in [&key, &value] {
            block.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        block.extend_from_slice(&key);
        block.extend_from_slice(&value);
        count += 1;
        if block.len() >= BLOCK_BYTES {
            sink.block(ROWS, &block)?;
            block.clear();
        }
    }
    if !block.is_empty() {
        sink.block(ROWS, &block)?;
    }
    let mut foot = count.to_le_bytes().to_vec();
    foot.extend_from_slice(&sink.total().to_le_bytes());
    sink.block(FOOT, &foot)?;
    let skip = false;
    #[cfg(sabotage)]
    let skip = skip || engine_types::sabotage("skip-snapshot-fsync");
    if !skip {
        sink.file.sync()?;
    }
    files.rename(&aside, &name)?;
    Ok(SnapshotFile {
        files: Arc::clone(files),
        name,
        applied: applied.clone(),
    })
}

/// Reads a snapshot from end to end. Blocking.
pub fn verify(
    files: &dyn DriveFiles,
    group: GroupId,
    name: &str,
) -> Result<Applied, SnapshotError> {
    let (reader, applied) = Reader::open(files, group, name)?;
    for row in reader {
        row?;
    }
    Ok(applied)
}

/// Removes what writes that were cut off have left. Blocking; nobody may be writing one.
pub fn sweep(files: &dyn DriveFiles, group: GroupId) -> Result<(), SnapshotError> {
    let directory = directory(group);
    for name in files.list(&directory)? {
        if name.ends_with(ASIDE) {
            files.remove(&format!("{directory}/{name}"))?;
        }
    }
    Ok(())
}

/// Finished snapshots, newest first, by name; not yet verified.
pub fn names(files: &dyn DriveFiles, group: GroupId) -> Result<Vec<String>, SnapshotError> {
    let directory = directory(group);
    let mut names = Vec::new();
    for name in files.list(&directory)? {
        let path = format!("{directory}/{name}");
        if name.strip_suffix(".snap").is_some() {
            names.push(path);
        }
    }
    names.sort_unstable();
    names.reverse();
    Ok(names)
}

/// The newest snapshot that is whole; damaged ones are told of and removed. Blocking.
pub fn newest(
    files: &Arc<dyn DriveFiles>,
    group: GroupId,
) -> Result<Option<SnapshotFile>, SnapshotError> {
    for name in names(files.as_ref(), group)? {
        match verify(files.as_ref(), group, &name) {
            Ok(applied) => {
                return Ok(Some(SnapshotFile {
                    files: Arc::clone(files),
                    name,
                    applied,
                }));
            }
            Err(SnapshotError::Damaged(_, why)) => {
                tracing::error!(drive = %files.drive(), %name, why, "snapshot damaged: falling back");
                files.remove(&name)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Removes all but the newest `keep`; returns what the oldest kept one covers, if `keep` are there:
/// the log may be purged up to it.
pub fn prune(
    files: &dyn DriveFiles,
    group: GroupId,
    keep: usize,
) -> Result<Option<Applied>, SnapshotError> {
    let names = names(files, group)?;
    for name in names.iter().skip(keep) {
        files.remove(name)?;
    }
    match names.get(keep.wrapping_sub(1)) {
        Some(oldest) => Reader::open(files, group, oldest).map(|(_, applied)| Some(applied)),
        None => Ok(None),
    }
}

/// Copies a snapshot of another drive onto this one, then verifies the copy. Blocking.
pub fn fetch(
    files: &Arc<dyn DriveFiles>,
    group: GroupId,
    source: &SnapshotFile,
) -> Result<SnapshotFile, SnapshotError> {
    let name = name_of(group, &source.applied);
    if Arc::ptr_eq(&source.files, files) && source.name == name {
        return Ok(source.clone());
    }
    let aside = format!("{name}{ASIDE}");
    files.remove(&aside)?;
    let (from, mut to) = (
        source.files.open_log(&source.name)?,
        files.open_log(&aside)?,
    );
    let (mut at, length) = (0, from.len());
    let mut buffer = vec![0; COPY_BYTES];
    while at < length {
        let take = usize::try_from((length - at).min(COPY_BYTES as u64)).unwrap_or(COPY_BYTES);
        from.read_at(at, &mut buffer[..take])?;
        to.append(&buffer[..take])?;
        at += take as u64;
    }
    let skip = false;
    #[cfg(sabotage)]
    let skip = skip || engine_types::sabotage("skip-fetch-fsync");
    if !skip {
        to.sync()?;
    }
    let applied = match verify(files.as_ref(), group, &aside) {
        Ok(applied) => applied,
        Err(error) => {
            // If the source itself has rotted, its owner must offer another.
            if let Err(SnapshotError::Damaged(name, why)) =
                verify(source.files.as_ref(), group, &source.name)
            {
                tracing::error!(drive = %source.files.drive(), %name, why, "snapshot damaged: removed");
                source.files.remove(&name)?;
            }
            return Err(error);
        }
    };
    files.rename(&aside, &name)?;
    Ok(SnapshotFile {
        files: Arc::clone(files),
        name,
        applied,
    })
}

/// Removes every snapshot of a replica that left the drive.
pub fn remove_all(files: &dyn DriveFiles, group: GroupId) -> Result<(), SnapshotError> {
    Ok(files.remove(&directory(group))?)
}
