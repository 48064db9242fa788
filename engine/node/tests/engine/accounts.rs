//! Accounts, access keys and buckets.

use crate::support::{Cluster, ROOT, make_bucket};
use engine_core::meta::{AccessKeyState, BucketDocument, Refusal};
use engine_node::{EngineError, NewBucket, Secret};
use engine_types::BucketName;
use zeroize::Zeroizing;

fn secret(text: &str) -> Secret {
    Secret(Zeroizing::new(text.into()))
}

#[tokio::test]
async fn credentials_open_change_and_go() {
    let cluster = Cluster::new(3).await;
    let engine = &cluster.engine;
    let root = engine.credential("AKIAROOT").await.unwrap().unwrap();
    assert_eq!(
        (root.secret.0.as_str(), root.account.id),
        ("root secret", ROOT)
    );
    assert!(root.account.root);
    assert!(engine.credential("AKIANOBODY").await.unwrap().is_none());
    let ann = engine
        .put_account("ann", "Ann", "ann@example.com")
        .await
        .unwrap();
    assert_eq!(
        engine
            .account_by_email("ann@example.com")
            .await
            .unwrap()
            .as_ref(),
        Some(&ann)
    );
    assert_eq!(
        engine
            .account_by_canonical_id("ann")
            .await
            .unwrap()
            .as_ref(),
        Some(&ann)
    );
    assert_eq!(engine.account(ann.id).await.unwrap().as_ref(), Some(&ann));
    let taken = engine.put_account("bob", "Bob", "ann@example.com").await;
    assert!(matches!(
        taken,
        Err(EngineError::Refused(Refusal::EmailTaken))
    ));
    let row = engine
        .put_access_key(ann.id, "AKIAANN", &secret("one"), "")
        .await
        .unwrap();
    assert!(!row.sealed_secret.windows(3).any(|window| window == b"one"));
    assert_eq!(
        engine
            .credential("AKIAANN")
            .await
            .unwrap()
            .unwrap()
            .secret
            .0
            .as_str(),
        "one"
    );
    engine
        .put_access_key(ann.id, "AKIAANN", &secret("two"), "")
        .await
        .unwrap();
    assert_eq!(
        engine
            .credential("AKIAANN")
            .await
            .unwrap()
            .unwrap()
            .secret
            .0
            .as_str(),
        "two"
    );
    let other = engine
        .put_access_key(ROOT, "AKIAANN", &secret("x"), "")
        .await;
    assert!(matches!(
        other,
        Err(EngineError::Refused(Refusal::AccessKeyExists))
    ));
    engine
        .set_access_key("AKIAANN", Some(AccessKeyState::Disabled))
        .await
        .unwrap();
    let disabled = engine.credential("AKIAANN").await.unwrap().unwrap();
    assert_eq!(disabled.key.state, AccessKeyState::Disabled);
    assert_eq!(engine.access_keys().await.unwrap().len(), 2);
    engine.set_access_key("AKIAANN", None).await.unwrap();
    engine.set_access_key("AKIAANN", None).await.unwrap();
    assert!(engine.credential("AKIAANN").await.unwrap().is_none());
}

#[tokio::test]
async fn a_known_credential_outlives_control_for_a_while() {
    let cluster = Cluster::new(3).await;
    cluster
        .engine
        .credential("AKIAROOT")
        .await
        .unwrap()
        .unwrap();
    cluster.metadata.set_down(true);
    assert!(
        cluster
            .engine
            .credential("AKIAROOT")
            .await
            .unwrap()
            .is_some()
    );
    let unknown = cluster.engine.credential("AKIANOBODY").await;
    assert!(matches!(unknown, Err(EngineError::Unavailable(_))));
}

#[tokio::test]
async fn buckets_are_made_listed_changed_and_deleted() {
    let cluster = Cluster::new(3).await;
    let engine = &cluster.engine;
    let name = BucketName::parse("second").unwrap();
    let documents = vec![(BucketDocument::Acl, b"acl".to_vec())];
    let new = NewBucket {
        name: name.clone(),
        owner: ROOT,
        documents,
    };
    let made = engine.create_bucket(new).await.unwrap();
    assert_eq!(made.row.documents[&BucketDocument::Acl], b"acl");
    let again = make_bucket(engine, "second").await;
    assert!(matches!(
        again,
        Err(EngineError::Refused(Refusal::BucketExists { owned: true }))
    ));
    let (listed, more) = engine.list_buckets(ROOT, "", None, 10).await.unwrap();
    assert_eq!((listed.len(), more), (2, false));
    engine
        .set_document(&made, BucketDocument::Policy, Some(b"policy".to_vec()))
        .await
        .unwrap();
    let now = engine.bucket("second").await.unwrap();
    assert_eq!(now.row.documents[&BucketDocument::Policy], b"policy");
    assert!(now.reference.epoch > made.reference.epoch);
    engine
        .put(crate::support::request(&now, "k", b"x"))
        .await
        .unwrap();
    let full = engine.delete_bucket(&now).await;
    assert!(matches!(
        full,
        Err(EngineError::Refused(Refusal::BucketNotEmpty))
    ));
    assert!(engine.refresh_bucket("second").await.is_ok());
    let condition = engine_core::meta::Condition::default();
    let at = crate::support::key("k");
    engine
        .delete(&now, &at, None, condition, crate::objects::by())
        .await
        .unwrap();
    engine.delete_bucket(&now).await.unwrap();
    for gone in [
        engine.bucket("second").await,
        engine.refresh_bucket("second").await,
    ] {
        assert!(matches!(
            gone,
            Err(EngineError::Refused(Refusal::NoSuchBucket))
        ));
    }
    let anew = make_bucket(engine, "second").await.unwrap();
    assert_ne!(anew.row.id, made.row.id);
}
