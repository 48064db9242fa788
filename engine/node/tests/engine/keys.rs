//! Keys at work: what their wrapping is bound to, wrapping anew, and what destroying one means.

use crate::support::{Cluster, ROOT, bytes, held_put, quick, request};
use engine_core::meta::{Condition, Encryption, KeyVersionId, Query, Reply};
use engine_core::ports::{DriveFiles, Metadata};
use engine_node::keyring::{KEYRING_FILE, KeyOwner, KeyState, RewrapPhase};
use engine_node::{EngineError, EngineOptions};
use engine_types::PartitionId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// {"a":"1"}, the same with spaces, {"a":"2"}.
const CONTEXT: &str = "eyJhIjoiMSJ9";
const SAME: &str = "eyAiYSIgOiAiMSIgfQ==";
const OTHER: &str = "eyJhIjoiMiJ9";

fn kms(context: Option<&str>) -> Encryption {
    Encryption::Kms {
        key_id: "tax".into(),
        context: context.map(str::to_owned),
        bucket_key: false,
    }
}

async fn put(cluster: &Cluster, name: &str, body: &[u8], encryption: Encryption) {
    let mut put = request(&cluster.bucket, name, body);
    put.attributes.encryption = encryption;
    cluster.engine.put(put).await.unwrap();
}

#[tokio::test]
async fn a_row_whose_context_was_altered_no_longer_opens() {
    let cluster = Cluster::new(3).await;
    cluster.engine.create_kms_key("tax").await.unwrap();
    put(&cluster, "k", b"secret", kms(Some(CONTEXT))).await;
    put(&cluster, "without", b"secret", kms(None)).await;
    assert_eq!(cluster.all("k").await.unwrap(), b"secret");
    for (name, context, opens) in [
        ("k", Some(SAME), true),
        ("k", Some(OTHER), false),
        ("k", None, false),
        ("without", Some(CONTEXT), false),
        ("without", None, true),
    ] {
        let mut found = cluster.found(name).await;
        found.found.row.attributes.encryption = kms(context);
        let read = cluster.engine.read(found, 0..10, None).await;
        assert_eq!(read.is_ok(), opens, "{name} {context:?}");
    }
    let mut found = cluster.found("k").await;
    found.found.row.attributes.encryption = Encryption::Tenant;
    let read = cluster.engine.read(found, 0..10, None).await;
    assert!(matches!(read.err(), Some(EngineError::Internal(_))));
}

#[tokio::test]
async fn attributes_under_another_context_need_the_bytes_sealed_anew() {
    let cluster = Cluster::new(3).await;
    cluster.engine.create_kms_key("tax").await.unwrap();
    put(&cluster, "k", b"secret", kms(Some(CONTEXT))).await;
    for (context, kept) in [(OTHER, false), (SAME, true)] {
        let found = cluster.found("k").await;
        let mut attributes = found.found.row.attributes.clone();
        attributes.encryption = kms(Some(context));
        let condition = Condition::default();
        let made = cluster
            .engine
            .reattribute(&found, condition, attributes, None);
        assert_eq!(made.await.unwrap().is_some(), kept, "{context}");
        assert_eq!(cluster.all("k").await.unwrap(), b"secret");
    }
}

/// Versions that wrap data keys, of all parts there are.
async fn wrapping(cluster: &Cluster) -> BTreeSet<KeyVersionId> {
    let mut versions = BTreeSet::new();
    for partition in cluster.metadata.partitions() {
        if partition == PartitionId::CONTROL {
            continue;
        }
        let scan = Query::ScanParts {
            after: None,
            limit: 10_000,
        };
        let Reply::ScannedParts(parts) = cluster.metadata.read(partition, scan).await.unwrap()
        else {
            panic!()
        };
        versions.extend(
            parts
                .into_iter()
                .filter_map(|(_, _, part)| part.row.key.version),
        );
    }
    versions
}

#[tokio::test]
async fn after_a_rotation_data_keys_are_wrapped_anew_in_the_background() {
    let options = EngineOptions {
        background: true,
        walk_period: Duration::from_millis(20),
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    let engine = &cluster.engine;
    engine.create_kms_key("tax").await.unwrap();
    let large = bytes(100_000, 3);
    put(&cluster, "large", &large, Encryption::Tenant).await;
    // More than a page.
    for n in 0..150 {
        put(&cluster, &format!("small{n}"), b"inline", Encryption::S3).await;
    }
    put(&cluster, "named", b"secret", kms(Some(CONTEXT))).await;
    let old = wrapping(&cluster).await;
    assert_eq!(old.len(), 2);
    let tenant = KeyOwner::Account(ROOT);
    let tenant = engine.keyring().rotate(&tenant).await.unwrap();
    let named = engine.rotate_kms_key("tax").await.unwrap().current;
    let deadline = Instant::now() + Duration::from_secs(30);
    while wrapping(&cluster).await != BTreeSet::from([tenant, named]) {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            engine.keyring().rewrap_status()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while engine.keyring().rewrap_status().phase != RewrapPhase::Done {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            engine.keyring().rewrap_status()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let moved = engine.keyring().rewrap_status().versions;
    let moved: Vec<u64> = old.iter().map(|id| moved[id].moved).collect();
    assert_eq!((moved.iter().sum::<u64>(), moved.contains(&1)), (152, true));
    assert!(cluster.all("large").await.unwrap() == large);
    assert_eq!(cluster.all("small149").await.unwrap(), b"inline");
    assert_eq!(cluster.all("named").await.unwrap(), b"secret");
    // The context is bound still.
    let mut found = cluster.found("named").await;
    found.found.row.attributes.encryption = kms(Some(OTHER));
    assert!(engine.read(found, 0..10, None).await.is_err());
    assert!(engine.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn what_came_while_its_key_was_destroyed_is_not_said_to_be_stored() {
    let cluster = Cluster::new(3).await;
    for length in [100, 100_000] {
        let (put, go) = held_put(&cluster, "during", &bytes(length, 5)).await;
        let owner = KeyOwner::Account(ROOT);
        cluster.engine.destroy_key(&owner).await.unwrap();
        go.send(()).unwrap();
        let answer = put.await.unwrap();
        assert!(
            matches!(&answer, Err(EngineError::KeyUnavailable(_))),
            "{answer:?}"
        );
        assert!(cluster.is_missing("during").await);
        cluster
            .until("its copies are freed", |c| c.shards() == 0)
            .await;
    }
}

#[tokio::test]
async fn a_destroyed_accounts_data_answers_that_its_key_is_gone() {
    let cluster = Cluster::new(3).await;
    let engine = &cluster.engine;
    let sent = bytes(100_000, 4);
    cluster.put("old", &sent).await.unwrap();
    let words = || Zeroizing::new("words".to_owned());
    let backup = engine.keyring().export(words()).await.unwrap();
    let before = cluster.drives[0].files.read(KEYRING_FILE).unwrap();
    engine.destroy_key(&KeyOwner::Account(ROOT)).await.unwrap();
    assert!(engine.not_erased().is_empty());
    let read = cluster.all("old").await;
    assert!(
        matches!(&read, Err(EngineError::KeyUnavailable(key)) if key == "account 1 (destroyed)"),
        "{read:?}"
    );
    assert_eq!(engine.import_keys(backup, words()).await.unwrap(), 0);
    assert!(cluster.all("old").await.is_err());
    cluster.put("new", &sent).await.unwrap();
    assert!(
        cluster.all("new").await.unwrap() == sent,
        "under a new version"
    );
    // Copies from before on every drive, as restored backups: control knows better.
    for drive in &cluster.drives {
        drive.files.write(KEYRING_FILE, &before).unwrap();
    }
    let again = cluster.reopened().await;
    let states: Vec<KeyState> = again
        .keyring()
        .list()
        .into_iter()
        .map(|v| v.state)
        .collect();
    assert!(states.contains(&KeyState::Destroyed), "{states:?}");
    assert!(cluster.drives[0].files.read(KEYRING_FILE).unwrap() != before);
}
