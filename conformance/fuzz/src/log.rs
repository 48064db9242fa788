//! The drive's log, its entries, and snapshots.

use crate::mend::LOG_DRIVE;
use crate::meta::commands;
use engine_core::ports::{DriveFiles, LogFile};
use engine_meta::log::record::{Header, Kind, NO_GROUP, put, salt_of};
use engine_meta::log::{DriveLog, LogOptions};
use engine_meta::raft::codec::{entry_from, membership_from, put_entry, put_vote};
use engine_meta::raft::types::{Entry, Proposal, log_id, vote};
use engine_meta::snapshot::{Applied, Reader, write};
use engine_sim::FakeDrive;
use engine_types::{DriveId, DriveUuid, GroupId, Stamp};
use std::sync::Arc;

const LOG_FILE: &str = "log/0000000000000001.log";
const GROUP: GroupId = GroupId(3);

fn drive_with(name: &str, bytes: &[u8]) -> Option<Arc<dyn DriveFiles>> {
    let drive = FakeDrive::new(DriveId(1), DriveUuid(LOG_DRIVE.0));
    let mut file = drive.open_log(name).ok()?;
    file.append(bytes).ok()?;
    file.sync().ok()?;
    Some(Arc::new(drive))
}

/// A drive whose log is these bytes: it opens, or is refused; entries found whole can be read.
pub(crate) fn log(bytes: &[u8]) -> bool {
    let Some(files) = drive_with(LOG_FILE, bytes) else {
        return false;
    };
    let Ok(log) = DriveLog::open(files, LogOptions::default()) else {
        return false;
    };
    let found = !log.groups().is_empty() && log.damaged().is_empty();
    log.close();
    found
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    let (mut bytes, mut prev, mut sequence) = (Vec::new(), 0, 0);
    let mut add = |group: u32, kind: Kind, of_group: u64, payload: &[u8]| {
        sequence += 1;
        let header = Header {
            sequence,
            durable: sequence - 1,
            boot: 1,
            group,
            kind,
            group_sequence: of_group,
        };
        prev = put(&mut bytes, salt_of(LOG_DRIVE), prev, &header, |out| {
            out.extend_from_slice(payload);
        });
    };
    let begin = [&LOG_DRIVE.0[..], &1_u64.to_le_bytes()].concat();
    add(NO_GROUP, Kind::Begin, 0, &begin);
    let mut ballot = Vec::new();
    put_vote(&mut ballot, &vote(1, 2, true));
    add(3, Kind::Vote, 1, &ballot);
    for (at, payload) in entries().into_iter().enumerate() {
        add(3, Kind::Append, at as u64 + 2, &payload);
    }
    vec![bytes]
}

pub(crate) fn entry(bytes: &[u8]) -> bool {
    let _other = membership_from(bytes);
    let Ok(entry) = entry_from(bytes) else {
        return false;
    };
    let mut again = Vec::new();
    put_entry(&mut again, &entry);
    assert_eq!(entry_from(&again), Ok(entry));
    true
}

pub(crate) fn entries() -> Vec<Vec<u8>> {
    let commands = commands().into_iter().enumerate();
    let all = commands.map(|(at, command)| {
        let proposal = Proposal {
            stamp: 1_700_000_000_000,
            command: Arc::from(command),
        };
        let entry: Entry = openraft_entry(at as u64, &proposal);
        let mut bytes = Vec::new();
        put_entry(&mut bytes, &entry);
        bytes
    });
    all.collect()
}

/// By way of the bytes: openraft is known to `engine-meta` alone.
fn openraft_entry(index: u64, proposal: &Proposal) -> Entry {
    let mut bytes = Vec::new();
    engine_meta::raft::codec::put_log_id(&mut bytes, &log_id(1, index));
    bytes.push(1);
    bytes.extend_from_slice(&proposal.stamp.to_le_bytes());
    bytes.extend_from_slice(&proposal.command);
    #[expect(clippy::expect_used, reason = "the line above is the format")]
    entry_from(&bytes).expect("an entry")
}

pub(crate) fn snapshot(bytes: &[u8]) -> bool {
    const NAME: &str = "snapshots/g3/x.snap";
    let Some(files) = drive_with(NAME, bytes) else {
        return false;
    };
    let Ok((reader, applied)) = Reader::open(files.as_ref(), GROUP, NAME) else {
        return false;
    };
    assert_eq!(Applied::decode(&applied.encode()), Ok(applied));
    reader.into_iter().all(|row| row.is_ok())
}

pub(crate) fn snapshots() -> Vec<Vec<u8>> {
    let of = |count: u8| {
        let drive = FakeDrive::new(DriveId(1), DriveUuid(LOG_DRIVE.0));
        let files: Arc<dyn DriveFiles> = Arc::new(drive);
        let rows = (0..count).map(|n| Ok((vec![2, n], vec![n; usize::from(n)])));
        let applied = Applied {
            stamp: Stamp(5),
            digest: 7,
            ..Applied::default()
        };
        let made = write(&files, GROUP, &applied, rows).ok()?;
        let mut file = files.open_log(&made.name).ok()?;
        let mut bytes = vec![0; usize::try_from(LogFile::len(file.as_ref())).ok()?];
        file.sync().ok()?;
        file.read_at(0, &mut bytes).ok()?;
        Some(bytes)
    };
    [0, 3, 40].into_iter().filter_map(of).collect()
}
