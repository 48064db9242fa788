//! Shards, segments, marks and the keyring file.

use engine_core::erasure::Codec;
use engine_core::format::{
    FooterEntry, SegmentFooter, SegmentHeader, ShardHeader, ShardOwner, block_checksums,
    footer_length,
};
use engine_core::ports::{Clock, DriveFiles, Entropy};
use engine_core::stripes::shard_length;
use engine_disk::mark::FEATURE_LEVEL;
use engine_disk::{DriveState, Mark};
use engine_node::keyring::{KEYRING_FILE, KeyringParts};
use engine_node::{Keyring, KeyringLock};
use engine_sim::FakeDrive;
use engine_types::{
    AccountId, BootId, BucketId, ClusterId, CopyToken, DataId, DriveId, DriveUuid, NodeId,
    ObjectKey, PackId, PartitionId,
};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn shard_header(bytes: &[u8]) -> bool {
    let Ok(header) = ShardHeader::decode(bytes) else {
        return false;
    };
    let mut again = Vec::new();
    assert_eq!(
        header.encode(&mut again),
        Ok(()),
        "what was read can be written"
    );
    assert_eq!(ShardHeader::decode(&again), Ok(header));
    true
}

pub(crate) fn shard_headers() -> Vec<Vec<u8>> {
    let key = ObjectKey::parse("a/key").ok();
    let object = key.map(|key| ShardOwner::Object {
        bucket: BucketId(7),
        key,
    });
    let pack = ShardOwner::Pack {
        partition: PartitionId(3),
        pack: PackId([9; 16]),
    };
    let of = |owner: ShardOwner, stripe_length: u32| {
        let payload_length = shard_length(stripe_length, 4);
        let payload = vec![5; usize::try_from(payload_length).unwrap_or(0)];
        let header = ShardHeader {
            codec: Codec::from_id(1)?,
            drive: DriveUuid([1; 16]),
            segment: 3,
            offset: 4096,
            partition: PartitionId(3),
            owner,
            data: DataId([2; 16]),
            part: 1,
            stripe: 0,
            k: 4,
            m: 2,
            index: 5,
            token: CopyToken([3; 16]),
            stripe_length,
            payload_length,
            block_crcs: block_checksums(&payload),
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes).ok()?;
        Some(bytes)
    };
    [object.and_then(|o| of(o, 20_000)), of(pack, 3_000_000)]
        .into_iter()
        .flatten()
        .collect()
}

pub(crate) fn segment_header(bytes: &[u8]) -> bool {
    let Ok(header) = SegmentHeader::decode(bytes) else {
        return false;
    };
    let mut again = Vec::new();
    assert_eq!(header.encode(&mut again), Ok(()));
    assert_eq!(SegmentHeader::decode(&again), Ok(header));
    true
}

pub(crate) fn segment_headers() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let header = SegmentHeader {
        segment: 9,
        drive: DriveUuid([1; 16]),
        created: 1_700_000_000_000,
    };
    header
        .encode(&mut bytes)
        .map(|()| bytes)
        .into_iter()
        .collect()
}

fn a_footer() -> Vec<u8> {
    let entry = |at: u64| FooterEntry {
        token: CopyToken([4; 16]),
        offset: at * 8192,
        length: 8192,
    };
    let footer = SegmentFooter {
        segment: 9,
        drive: DriveUuid([1; 16]),
        entries: (1..6).map(entry).collect(),
    };
    let mut bytes = Vec::new();
    footer
        .encode(&mut bytes)
        .map(|()| bytes)
        .unwrap_or_default()
}

pub(crate) fn segment_footer(bytes: &[u8]) -> bool {
    let Ok(footer) = SegmentFooter::decode(bytes) else {
        return false;
    };
    let mut again = Vec::new();
    assert_eq!(footer.encode(&mut again), Ok(()));
    assert_eq!(SegmentFooter::decode(&again), Ok(footer));
    true
}

pub(crate) fn segment_footers() -> Vec<Vec<u8>> {
    vec![a_footer()]
}

pub(crate) fn segment_trailer(bytes: &[u8]) -> bool {
    footer_length(bytes).is_ok()
}

pub(crate) fn segment_trailers() -> Vec<Vec<u8>> {
    let footer = a_footer();
    let from = footer
        .len()
        .saturating_sub(engine_core::format::FOOTER_TRAILER_BYTES);
    vec![footer.get(from..).unwrap_or_default().to_vec()]
}

pub(crate) fn mark(bytes: &[u8]) -> bool {
    let Ok(mark) = Mark::decode(bytes, FEATURE_LEVEL) else {
        return false;
    };
    let again = mark.encode().unwrap_or_default();
    assert_eq!(Mark::decode(&again, FEATURE_LEVEL), Ok(mark));
    true
}

pub(crate) fn marks() -> Vec<Vec<u8>> {
    let mark = Mark {
        uuid: DriveUuid([1; 16]),
        drive: DriveId(2),
        cluster: ClusterId([3; 16]),
        node: NodeId(1),
        feature_level: FEATURE_LEVEL,
        release: "0.1.0".into(),
        state: DriveState::InService,
        stale: false,
        boots: [
            (DriveUuid([1; 16]), BootId(4)),
            (DriveUuid([2; 16]), BootId(5)),
        ]
        .into(),
        log_ends: [(DriveUuid([2; 16]), 70)].into(),
    };
    mark.encode().into_iter().collect()
}

pub(crate) fn keyring(bytes: &[u8]) -> bool {
    engine_node::keyring::open_unauthenticated(bytes, &lock())
}

fn lock() -> KeyringLock {
    KeyringLock::KeyFile(vec![7; 64].into())
}

#[derive(Debug)]
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(9);
    }
}

impl Clock for Fixed {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) fn keyrings() -> Vec<Vec<u8>> {
    let drive = FakeDrive::new(DriveId(1), DriveUuid([1; 16]));
    let holders: Vec<Arc<dyn DriveFiles>> = vec![Arc::new(drive.clone())];
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return Vec::new();
    };
    runtime.block_on(async {
        let parts = KeyringParts {
            holders,
            voters: None,
            boot: BootId(1),
            entropy: Arc::new(Fixed),
            clock: Arc::new(Fixed),
        };
        let made = Keyring::create(parts, lock()).await;
        let Ok(keyring) = made else { return Vec::new() };
        let empty = drive.read(KEYRING_FILE);
        let owner = engine_node::keyring::KeyOwner::Account(AccountId(3));
        let filled = keyring
            .rotate(&owner)
            .await
            .ok()
            .and_then(|_| drive.read(KEYRING_FILE).ok());
        empty.ok().into_iter().chain(filled).collect()
    })
}
