//! An engine over fakes: metadata that runs the real apply, drives in memory.

use bytes::Bytes;
use engine_core::meta::{Condition, Encryption, Query, VersionAttributes, VersionRow};
use engine_core::placement::{DriveState, Layout, LayoutDrive};
use engine_core::ports::{Clock, DriveFiles, Entropy, Metadata, ShardStore};
use engine_node::keyring::KeyringParts;
use engine_node::{
    BodyError, Bucket, Engine, EngineError, EngineOptions, EngineParts, Found, Keyring,
    KeyringLock, Lookup, NewBucket, NewCluster, PutBody, PutRequest, Rejudge, Secret, bootstrap,
};
use engine_sim::{FakeDrive, FakeMetadata, FakeShardStore};
use engine_types::{
    AccountId, BootId, BucketName, ChargedTo, ClusterId, DriveId, DriveUuid, NodeId, ObjectKey,
    StorageClass,
};
use futures::{StreamExt, TryStreamExt};
use rand::{RngCore, SeedableRng};
use serde_bytes::ByteBuf;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub(crate) const ROOT: AccountId = AccountId(1);

#[derive(Debug)]
pub(crate) struct TestClock(Instant);

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        u64::try_from(since.as_millis()).unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[derive(Debug)]
pub(crate) struct TestEntropy;

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

pub(crate) struct TestDrive {
    pub(crate) row: LayoutDrive,
    pub(crate) store: Arc<FakeShardStore>,
    pub(crate) files: FakeDrive,
}

pub(crate) struct Cluster {
    pub(crate) engine: Engine,
    pub(crate) metadata: Arc<FakeMetadata>,
    pub(crate) drives: Vec<TestDrive>,
    pub(crate) bucket: Bucket,
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock(Instant::now()))
}

pub(crate) fn key_file() -> KeyringLock {
    KeyringLock::KeyFile(Zeroizing::new(vec![7; 32]))
}

pub(crate) fn drive(n: u32) -> TestDrive {
    let uuid = DriveUuid([u8::try_from(n).unwrap(); 16]);
    let row = LayoutDrive {
        id: DriveId(n),
        uuid,
        node: NodeId(1),
        zone: "a".into(),
        size_bytes: 1 << 34,
        state: DriveState::Active,
    };
    let store = Arc::new(FakeShardStore::new(uuid, 1 << 34));
    TestDrive {
        row,
        store,
        files: FakeDrive::new(DriveId(n), uuid),
    }
}

/// Short patience, no background work.
pub(crate) fn quick() -> EngineOptions {
    EngineOptions {
        hedge_after: Duration::from_millis(40),
        grant_wait: Duration::from_mins(1),
        proposal_patience: Duration::from_secs(2),
        background: false,
        ..EngineOptions::default()
    }
}

/// Without voters: all holders count.
pub(crate) fn keyring_parts(holders: Vec<Arc<dyn DriveFiles>>, boot: BootId) -> KeyringParts {
    KeyringParts {
        holders,
        voters: None,
        boot,
        entropy: Arc::new(TestEntropy),
        clock: clock(),
    }
}

impl Cluster {
    pub(crate) async fn new(drives: u32) -> Self {
        Self::with(drives, quick()).await
    }

    pub(crate) async fn with(drives: u32, options: EngineOptions) -> Self {
        let drives: Vec<TestDrive> = (1..=drives).map(drive).collect();
        let metadata = Arc::new(FakeMetadata::new(4));
        let files: Vec<Arc<dyn DriveFiles>> = drives
            .iter()
            .map(|d| Arc::new(d.files.clone()) as Arc<dyn DriveFiles>)
            .collect();
        let entropy: Arc<dyn Entropy> = Arc::new(TestEntropy);
        let clock = clock();
        let parts = keyring_parts(files, BootId(1));
        let keyring = Keyring::open_or_create(parts, key_file()).await.unwrap();
        let new = NewCluster {
            cluster: ClusterId([9; 16]),
            layout: Layout {
                version: 1,
                drives: drives.iter().map(|d| d.row.clone()).collect(),
            },
            partitions: 4,
            root: (
                "root-canonical".into(),
                "root".into(),
                "root@example.com".into(),
            ),
            access_key: "AKIAROOT".into(),
            secret: Secret(Zeroizing::new("root secret".into())),
        };
        bootstrap(&*metadata, &keyring, &TestEntropy, new)
            .await
            .unwrap();
        let parts = EngineParts {
            node: NodeId(1),
            boot: BootId(1),
            metadata: Arc::clone(&metadata) as Arc<dyn Metadata>,
            keyring: Arc::new(keyring),
            drives: drives.iter().map(open_drive).collect(),
            clock,
            entropy,
            options,
        };
        let engine = Engine::start(parts).await;
        let bucket = make_bucket(&engine, "first").await.unwrap();
        Self {
            engine,
            metadata,
            drives,
            bucket,
        }
    }

    /// Another start over the same drives and metadata.
    pub(crate) async fn reopened(&self) -> Engine {
        let files = self.drives.iter();
        let files = files.map(|d| Arc::new(d.files.clone()) as Arc<dyn DriveFiles>);
        let entropy: Arc<dyn Entropy> = Arc::new(TestEntropy);
        let clock = clock();
        let keyring = Keyring::open(keyring_parts(files.collect(), BootId(2)), key_file());
        let parts = EngineParts {
            node: NodeId(1),
            boot: BootId(2),
            metadata: Arc::clone(&self.metadata) as Arc<dyn Metadata>,
            keyring: Arc::new(keyring.await.unwrap()),
            drives: self.drives.iter().map(open_drive).collect(),
            clock,
            entropy,
            options: quick(),
        };
        Engine::start(parts).await
    }

    pub(crate) async fn put(&self, name: &str, body: &[u8]) -> Result<VersionRow, EngineError> {
        self.engine.put(request(&self.bucket, name, body)).await
    }

    pub(crate) async fn found(&self, name: &str) -> Found {
        match self
            .engine
            .find(&self.bucket, &key(name), None, true)
            .await
            .unwrap()
        {
            Lookup::Found(found) => *found,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) async fn is_missing(&self, name: &str) -> bool {
        let found = self
            .engine
            .find(&self.bucket, &key(name), None, false)
            .await
            .unwrap();
        matches!(found, Lookup::Missing(_))
    }

    pub(crate) async fn get(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, EngineError> {
        let found = self.found(name).await;
        collect(self.engine.read(found, range, None).await?).await
    }

    pub(crate) async fn all(&self, name: &str) -> Result<Vec<u8>, EngineError> {
        self.get(name, 0..u64::MAX).await
    }

    /// Shards on all drives.
    pub(crate) fn shards(&self) -> usize {
        self.drives
            .iter()
            .map(|drive| drive.store.tokens().len())
            .sum()
    }

    /// Waits until the worker that asks every partition for this has gone round whole since now: it
    /// asks each at most twice a round, so of this many reads a whole round lies between two others.
    pub(crate) async fn round_of(&self, kind: &Query) {
        let reads = 4 * self.metadata.partitions().len() as u64;
        let enough = self.metadata.asked(kind) + reads;
        self.until("background work goes round", |c| {
            c.metadata.asked(kind) >= enough
        })
        .await;
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn open_drive(
    drive: &TestDrive,
) -> (LayoutDrive, Arc<dyn ShardStore>, Arc<dyn DriveFiles>) {
    let store: Arc<dyn ShardStore> = Arc::<FakeShardStore>::clone(&drive.store);
    (drive.row.clone(), store, Arc::new(drive.files.clone()))
}

pub(crate) async fn make_bucket(engine: &Engine, name: &str) -> Result<Bucket, EngineError> {
    let name = BucketName::parse(name).unwrap();
    engine
        .create_bucket(NewBucket {
            name,
            owner: ROOT,
            documents: Vec::new(),
        })
        .await
}

pub(crate) async fn collect(stream: engine_node::ByteStream) -> Result<Vec<u8>, EngineError> {
    let pieces: Result<Vec<Bytes>, BodyError> = stream.try_collect().await;
    pieces
        .map(|pieces| pieces.concat())
        .map_err(|error| *error.downcast::<EngineError>().unwrap())
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

/// Incompressible bytes that differ by seed.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

pub(crate) fn attributes() -> VersionAttributes {
    VersionAttributes {
        owner: ROOT,
        charged_to: ChargedTo {
            account: ROOT,
            key: None,
        },
        class: StorageClass::standard(),
        headers: vec![("content-type".into(), "text/plain".into())],
        user: Vec::new(),
        tags: Vec::new(),
        acl: ByteBuf::new(),
        encryption: Encryption::Tenant,
    }
}

/// A body that comes in uneven pieces.
pub(crate) fn body(bytes: &[u8]) -> PutBody {
    let pieces: Vec<Bytes> = bytes.chunks(77_777).map(Bytes::copy_from_slice).collect();
    PutBody {
        stream: futures::stream::iter(pieces.into_iter().map(Ok)).boxed(),
        length: bytes.len() as u64,
        algorithms: Vec::new(),
        verify: Box::new(|_| Ok(())),
        customer_key: None,
    }
}

pub(crate) fn request<'a>(bucket: &Bucket, name: &str, bytes: &[u8]) -> PutRequest<'a> {
    PutRequest {
        bucket: bucket.clone(),
        key: key(name),
        condition: Condition::default(),
        attributes: attributes(),
        stored_checksum: None,
        body: body(bytes),
        rejudge: Rejudge::new(|_| async { Ok(attributes()) }),
    }
}

/// A PUT that is under way: its bytes come once the sender says so.
pub(crate) async fn held_put(
    cluster: &Cluster,
    name: &str,
    bytes: &[u8],
) -> (
    JoinHandle<Result<VersionRow, EngineError>>,
    oneshot::Sender<()>,
) {
    let mut open = request(&cluster.bucket, name, bytes);
    let whole = std::mem::replace(&mut open.body.stream, futures::stream::empty().boxed());
    let (begun, begins) = oneshot::channel::<()>();
    let (go, wait) = oneshot::channel::<()>();
    let hold = async move {
        begun.send(()).unwrap();
        wait.await.unwrap();
    };
    let waiting = futures::stream::once(hold).filter_map(|()| async { None });
    open.body.stream = waiting.chain(whole).boxed();
    let engine = cluster.engine.clone();
    let put = tokio::spawn(async move { engine.put(open).await });
    begins.await.unwrap();
    (put, go)
}
