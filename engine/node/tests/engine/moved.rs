//! What was judged by a bucket's configuration, or by a version, that is another at the commit.

use crate::objects::by;
use crate::support::{Cluster, attributes, bytes, key, make_bucket, request};
use engine_core::meta::{BucketDocument, Condition, Encryption, Refusal, Versioning};
use engine_node::{EngineError, Rejudge, RestsOn};
use engine_types::VersionId;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn a_bucket_that_changed_meanwhile_takes_the_write_under_its_new_configuration() {
    let cluster = Cluster::new(6).await;
    let old = cluster.bucket.clone();
    cluster
        .engine
        .set_versioning(&old, Versioning::Enabled)
        .await
        .unwrap();
    let row = cluster.put("k", &bytes(50_000, 1)).await.unwrap();
    assert_ne!(row.version, VersionId::Null, "judged by the new state");
    let now = cluster.engine.bucket("first").await.unwrap();
    assert_ne!(now.reference, old.reference);
    let stale = cluster.engine.find(&old, &key("k"), None, false).await;
    assert!(matches!(
        stale,
        Err(EngineError::Refused(Refusal::StaleBucket))
    ));
    cluster
        .engine
        .delete(
            &now,
            &key("k"),
            Some(row.version),
            Condition::default(),
            by(),
        )
        .await
        .unwrap();
    cluster.engine.delete_bucket(&now).await.unwrap();
    make_bucket(&cluster.engine, "first").await.unwrap();
    let gone = cluster.put("k", &bytes(50_000, 1)).await;
    assert!(
        matches!(gone, Err(EngineError::Refused(Refusal::NoSuchBucket))),
        "{gone:?}"
    );
}

/// Small and in stripes: the bytes of either are there before the commit.
const SIZES: [usize; 2] = [10, 50_000];

async fn policy(cluster: &Cluster, text: &[u8]) {
    let now = cluster.engine.bucket("first").await.unwrap();
    let set = cluster
        .engine
        .set_document(&now, BucketDocument::Policy, Some(text.to_vec()));
    set.await.unwrap();
}

#[tokio::test]
async fn a_write_is_judged_again_by_the_bucket_as_it_is_at_the_commit() {
    let cluster = Cluster::new(6).await;
    for (nth, size) in SIZES.into_iter().enumerate() {
        let old = cluster.engine.refresh_bucket("first").await.unwrap();
        let text = vec![u8::try_from(nth).unwrap()];
        policy(&cluster, &text).await;
        let asked = AtomicUsize::new(0);
        let mut put = request(&old, "k", &bytes(size, 1));
        put.attributes.encryption = Encryption::S3;
        put.rejudge = Rejudge::new(|bucket: engine_node::Bucket| {
            asked.fetch_add(1, Ordering::Relaxed);
            assert_eq!(bucket.row.documents[&BucketDocument::Policy], text);
            let mut judged = attributes();
            judged.acl = b"narrower".to_vec().into();
            async { Ok(judged) }
        });
        let row = cluster.engine.put(put).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{size}");
        assert_eq!(*row.attributes.acl, b"narrower");
        let now = cluster.engine.bucket("first").await.unwrap();
        let found = cluster.engine.find(&now, &key("k"), None, false).await;
        let engine_node::Lookup::Found(found) = found.unwrap() else {
            panic!("{size}")
        };
        let kept = &found.found.row.attributes;
        assert_eq!(*kept.acl, b"narrower");
        assert_eq!(kept.encryption, Encryption::S3, "as its bytes are sealed");
    }
}

#[tokio::test]
async fn a_write_refused_when_judged_again_leaves_nothing() {
    let cluster = Cluster::new(6).await;
    for size in SIZES {
        let old = cluster.engine.refresh_bucket("first").await.unwrap();
        policy(&cluster, &size.to_be_bytes()).await;
        let mut put = request(&old, "k", &bytes(size, 1));
        put.rejudge = Rejudge::new(|_| async { Err("not any more".into()) });
        let refused = cluster.engine.put(put).await;
        assert!(
            matches!(&refused, Err(EngineError::Body(error)) if error.to_string() == "not any more"),
            "{refused:?}"
        );
        let now = cluster.engine.bucket("first").await.unwrap();
        let found = cluster.engine.find(&now, &key("k"), None, false).await;
        assert!(matches!(found, Ok(engine_node::Lookup::Missing(_))));
    }
}

#[tokio::test]
async fn a_change_judged_for_one_object_spares_the_next_of_its_name() {
    let cluster = Cluster::new(6).await;
    cluster.put("k", b"one").await.unwrap();
    let judged = cluster.found("k").await;
    cluster.put("k", b"another").await.unwrap();
    for rests_on in [
        RestsOn::default(),
        RestsOn {
            acl: true,
            tags: true,
        },
    ] {
        let listed = cluster
            .engine
            .set_acl(&judged, rests_on, b"all".to_vec())
            .await;
        let tagged = cluster.engine.set_tags(&judged, rests_on, Vec::new()).await;
        for refused in [listed, tagged] {
            assert!(matches!(
                refused,
                Err(EngineError::Refused(Refusal::Changed))
            ));
        }
    }
    assert!(cluster.found("k").await.found.row.attributes.acl.is_empty());
}

#[tokio::test]
async fn configuration_judged_by_what_the_bucket_was_is_refused() {
    let cluster = Cluster::new(6).await;
    policy(&cluster, b"first").await;
    let (engine, old) = (&cluster.engine, &cluster.bucket);
    let again = engine.set_document(old, BucketDocument::Acl, None).await;
    assert!(matches!(
        again,
        Err(EngineError::Refused(Refusal::StaleBucket))
    ));
    let again = engine.set_versioning(old, Versioning::Enabled).await;
    assert!(matches!(
        again,
        Err(EngineError::Refused(Refusal::StaleBucket))
    ));
}
