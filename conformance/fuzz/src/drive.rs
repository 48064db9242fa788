//! Whole files of a drive: segments, the log of frees, and the small ones.

use bytes::Bytes;
use engine_core::meta::{Contents, PackMember};
use engine_core::ports::{DriveFiles, ShardStore};
use engine_disk::fuzzing::{DRIVE, SEGMENT, directory};
use engine_disk::{DriveDir, Options, Root, SegmentStore};
use engine_meta::replica::Identity;
use engine_sim::FakeDrive;
use engine_sim::contracts::shard_store::shard;
use engine_types::{DriveId, GroupId};
use std::path::Path;

const GROUP: GroupId = GroupId(3);
/// Where the identity of a replica of [`GROUP`] is.
const IDENTITY_FILE: &str = "replicas/g3";
/// Pick the file in [`small`].
const KINDS: [fn(&[u8]) -> bool; 3] = [identity, kept, pack];

pub(crate) fn segment(bytes: &[u8]) -> bool {
    engine_disk::fuzzing::segment(bytes)
}

pub(crate) fn frees(bytes: &[u8]) -> bool {
    engine_disk::fuzzing::frees(bytes)
}

/// A store that took two shards and freed one; the bytes of its first segment and log of frees.
async fn a_store(at: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let files = DriveDir::new(Root::lock(at).ok()?, DriveId(1), DRIVE);
    let options = Options {
        segment_bytes: 1 << 20,
        reserve_percent: 0,
        reserve_bytes_min: 0,
        ..Options::default()
    };
    let (store, _) = SegmentStore::open(files, options).ok()?;
    let shards: [(_, Bytes); 2] = [shard(DRIVE, 10, 1, 100), shard(DRIVE, 10, 2, 5000)];
    for (header, payload) in &shards {
        store.append(header.clone(), payload.clone()).await.ok()?;
    }
    store.free(&[shards[0].0.token]).await.ok()?;
    store.close().await;
    let read = |name: &str| std::fs::read(at.join(name)).ok();
    Some((
        read(&format!("shards/segments/{SEGMENT:016x}"))?,
        read("shards/frees")?,
    ))
}

fn made() -> Option<(Vec<u8>, Vec<u8>)> {
    let at = directory("seed").ok()?;
    let runtime = tokio::runtime::Runtime::new().ok()?;
    let made = runtime.block_on(a_store(&at));
    std::fs::remove_dir_all(at).ok()?;
    made
}

pub(crate) fn segments() -> Vec<Vec<u8>> {
    made().map(|(segment, _)| segment).into_iter().collect()
}

pub(crate) fn free_logs() -> Vec<Vec<u8>> {
    made().map(|(_, frees)| frees).into_iter().collect()
}

/// The first byte picks the file.
pub(crate) fn small(bytes: &[u8]) -> bool {
    let picked = bytes.split_first();
    picked.is_some_and(|(kind, rest)| KINDS[usize::from(*kind) % KINDS.len()](rest))
}

fn identity(bytes: &[u8]) -> bool {
    let drive = FakeDrive::new(DriveId(1), DRIVE);
    let written = drive.write(IDENTITY_FILE, bytes);
    let Ok(Some(identity)) = Identity::read(&drive, GROUP) else {
        return false;
    };
    written.is_ok()
        && identity.write(&drive, GROUP).is_ok()
        && drive.read(IDENTITY_FILE).is_ok_and(|again| again == bytes)
}

fn kept(bytes: &[u8]) -> bool {
    let again = |bytes: &[u8]| engine_node::scrub::reads_again(Some(bytes));
    again(bytes).is_some_and(|first| {
        assert_eq!(
            again(&first).as_ref(),
            Some(&first),
            "what was read reads again"
        );
        true
    })
}

fn pack(bytes: &[u8]) -> bool {
    Contents::decode(bytes).is_ok_and(|members| {
        let inside = |member: &PackMember| member.range().is_some_and(|r| r.end <= bytes.len());
        assert!(members.iter().all(inside), "members lie in their pack");
        true
    })
}

pub(crate) fn smalls() -> Vec<Vec<u8>> {
    let drive = FakeDrive::new(DriveId(1), DRIVE);
    let identity = Identity {
        id: 7,
        generation: 9,
    };
    let written = identity.write(&drive, GROUP).ok();
    let identity = written.and_then(|()| drive.read(IDENTITY_FILE).ok());
    let kept = engine_node::scrub::reads_again(None);
    let pack = Some(Contents::encode(&[]));
    let files = [identity, kept, pack];
    let numbered = files.into_iter().zip(0_u8..);
    numbered
        .filter_map(|(file, kind)| Some([&[kind], file?.as_slice()].concat()))
        .collect()
}
