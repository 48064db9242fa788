//! Buckets whose making or deletion was cut off, or done twice at once.

use crate::background::busy;
use crate::support::{Cluster, ROOT};
use engine_core::meta::{
    Answer, BucketDocument, BucketNameRow, BucketRow, BucketState, Change, Command, ControlChange,
    ControlQuery, ControlReply, Query, Refusal, Reply, Versioning,
};
use engine_core::ports::Metadata;
use engine_node::{EngineError, NewBucket};
use engine_types::{BirthId, BucketName, CommandId, PartitionId};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "halfway";

fn name() -> BucketName {
    BucketName::parse(NAME).unwrap()
}

async fn apply(cluster: &Cluster, partition: PartitionId, number: u8, change: Change) -> Answer {
    let birth = cluster.metadata.stamp(partition).await.unwrap();
    let id = CommandId::born(birth, [number; 10]);
    let command = Command { id, change };
    cluster.metadata.apply(partition, command).unwrap()
}

async fn control(cluster: &Cluster, number: u8, change: ControlChange) -> Answer {
    let change = Change::Control(change);
    apply(cluster, PartitionId::CONTROL, number, change).await
}

/// The claim, and nothing behind it.
async fn claimed(cluster: &Cluster) -> BucketNameRow {
    let (name, owner) = (name(), ROOT);
    match control(cluster, 1, ControlChange::ClaimBucket { name, owner }).await {
        Answer::Claimed(row) => row,
        other => panic!("{other:?}"),
    }
}

/// The bucket at its home, with one document.
async fn made(cluster: &Cluster, row: &BucketNameRow) {
    let row_at_home = BucketRow {
        id: row.id,
        name: name(),
        owner: ROOT,
        created: row.created,
        epoch: 1,
        versioning: Versioning::Unversioned,
        documents: BTreeMap::from([(BucketDocument::Ownership, b"closed".to_vec())]),
        closed: false,
    };
    let change = Change::CreateBucket(Box::new(row_at_home));
    assert!(matches!(
        apply(cluster, row.home, 2, change).await,
        Answer::Bucket(_)
    ));
}

async fn state(cluster: &Cluster) -> Option<BucketState> {
    let query = Query::Control(ControlQuery::Bucket(NAME.into()));
    match cluster
        .metadata
        .read(PartitionId::CONTROL, query)
        .await
        .unwrap()
    {
        Reply::Control(ControlReply::Bucket(row)) => row.map(|row| row.state),
        other => panic!("{other:?}"),
    }
}

async fn until(cluster: &Cluster, wanted: Option<BucketState>) {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while state(cluster).await != wanted {
        assert!(std::time::Instant::now() < deadline, "{wanted:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn new() -> NewBucket {
    NewBucket {
        name: name(),
        owner: ROOT,
        documents: vec![(BucketDocument::Ownership, b"asked for".to_vec())],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_bucket_is_released_not_made_without_its_documents() {
    let cluster = Cluster::with(3, busy()).await;
    claimed(&cluster).await;
    cluster.metadata.advance(61_000);
    until(&cluster, None).await;
    let refused = cluster.engine.bucket(NAME).await.unwrap_err();
    assert!(matches!(
        refused,
        EngineError::Refused(Refusal::NoSuchBucket)
    ));
    let bucket = cluster.engine.create_bucket(new()).await.unwrap();
    let document = bucket.row.documents.get(&BucketDocument::Ownership);
    assert_eq!(document.map(Vec::as_slice), Some(&b"asked for"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_made_and_not_live_yet_is_rolled_forward_with_its_documents() {
    let cluster = Cluster::with(3, busy()).await;
    let row = claimed(&cluster).await;
    made(&cluster, &row).await;
    cluster.metadata.advance(61_000);
    until(&cluster, Some(BucketState::Live)).await;
    let bucket = cluster.engine.bucket(NAME).await.unwrap();
    let document = bucket.row.documents.get(&BucketDocument::Ownership);
    assert_eq!(document.map(Vec::as_slice), Some(&b"closed"[..]));
}

/// Two deletions at once: one heard "not empty" and made the name live again, the other deleted the
/// bucket at home and ended there. The name must not stay with a bucket that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_name_whose_bucket_is_gone_comes_free() {
    let cluster = Cluster::with(3, busy()).await;
    let bucket = cluster.engine.create_bucket(new()).await.unwrap();
    let (id, home) = (bucket.row.id, bucket.reference.partition);
    assert_eq!(
        apply(&cluster, home, 3, Change::DeleteBucket { id }).await,
        Answer::Done
    );
    assert_eq!(state(&cluster).await, Some(BucketState::Live));
    let refused = cluster.engine.refresh_bucket(NAME).await.unwrap_err();
    assert!(matches!(
        refused,
        EngineError::Refused(Refusal::NoSuchBucket)
    ));
    until(&cluster, None).await;
    let again = cluster.engine.create_bucket(new()).await.unwrap();
    assert_ne!(again.row.id, id);
}
