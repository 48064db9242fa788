//! Whole objects: sizes, ranges, digests, conditions, encryption.

use crate::support::{Cluster, attributes, bytes, collect, key, request};
use engine_core::digest;
use engine_core::meta::{Condition, Encryption, EtagMatch, ListQuery, Refusal, Versioning};
use engine_core::stripes::{FRAME_PLAIN, INLINE_BYTES_MAX, STRIPE_PLAIN};
use engine_node::{CustomerKey, Engine, EngineError, Lookup, RestsOn};
use engine_types::{ChecksumAlgorithm, ETag};
use zeroize::Zeroizing;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_shape_come_back() {
    let cluster = Cluster::new(6).await;
    let sizes = [
        0,
        1,
        INLINE_BYTES_MAX,
        INLINE_BYTES_MAX + 1,
        FRAME_PLAIN - 1,
        FRAME_PLAIN,
        FRAME_PLAIN + 1,
        STRIPE_PLAIN - 1,
        STRIPE_PLAIN,
        STRIPE_PLAIN + 1,
        8 << 20,
        40 << 20,
    ];
    for (seed, size) in (0..).zip(sizes) {
        let sent = bytes(size, seed);
        let row = cluster.put("k", &sent).await.unwrap();
        assert_eq!(
            (row.size, row.etag),
            (
                size as u64,
                ETag {
                    md5: digest::md5(&sent),
                    parts: 0
                }
            )
        );
        assert_eq!(row.attributes, attributes());
        let got = cluster.all("k").await.unwrap();
        assert!(got == sent, "{size} bytes differ");
    }
}

#[tokio::test]
async fn small_bodies_touch_no_drive_and_larger_ones_all() {
    let cluster = Cluster::new(6).await;
    cluster
        .put("small", &bytes(INLINE_BYTES_MAX, 1))
        .await
        .unwrap();
    assert_eq!(cluster.shards(), 0);
    cluster
        .put("large", &bytes(INLINE_BYTES_MAX + 1, 1))
        .await
        .unwrap();
    assert!(
        cluster
            .drives
            .iter()
            .all(|drive| drive.store.tokens().len() == 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_those_of_the_bytes() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let cluster = Cluster::new(6).await;
    let sent = bytes(2 * STRIPE_PLAIN + 3 * FRAME_PLAIN + 17, 3);
    cluster.put("k", &sent).await.unwrap();
    let length = sent.len() as u64;
    let mut runner = TestRunner::new(Config::with_cases(64));
    let edges = [
        0,
        FRAME_PLAIN as u64,
        STRIPE_PLAIN as u64,
        16 * FRAME_PLAIN as u64,
        length,
    ];
    let point = prop_oneof![
        0..=length,
        (prop::sample::select(edges.to_vec()), 0..3_u64)
            .prop_map(move |(edge, off)| (edge + off).saturating_sub(1).min(length))
    ];
    let strategy = (point.clone(), point);
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let run = runner.run(&strategy, |(a, b)| {
            let range = a.min(b)..a.max(b);
            let got = handle.block_on(cluster.get("k", range.clone())).unwrap();
            let want = &sent[range.start as usize..range.end as usize];
            prop_assert!(got == want, "{:?}", range);
            Ok(())
        });
        run.unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn digests_are_judged_before_anything_is_visible() {
    let cluster = Cluster::new(6).await;
    for size in [100, 100_000] {
        let sent = bytes(size, 5);
        let mut good = request(&cluster.bucket, "good", &sent);
        good.body.algorithms = vec![ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc32c];
        good.stored_checksum = Some(ChecksumAlgorithm::Crc32c);
        let expected = sent.clone();
        good.body.verify = Box::new(move |digests| {
            let sha = digest::checksum(ChecksumAlgorithm::Sha256, &expected);
            assert_eq!(digests.checksums[0], (ChecksumAlgorithm::Sha256, sha));
            assert_eq!(
                (digests.md5, digests.length),
                (digest::md5(&expected), expected.len() as u64)
            );
            Ok(())
        });
        let row = cluster.engine.put(good).await.unwrap();
        let checksum = row.checksum.unwrap();
        assert_eq!(
            checksum.value,
            digest::checksum(ChecksumAlgorithm::Crc32c, &sent)
        );
        let before = cluster.shards();
        let mut bad = request(&cluster.bucket, "bad", &sent);
        bad.body.verify = Box::new(|_| Err("bad digest".into()));
        let refused = cluster.engine.put(bad).await;
        assert!(matches!(refused, Err(EngineError::Body(e)) if e.to_string() == "bad digest"));
        assert!(cluster.is_missing("bad").await);
        cluster
            .until("shards of the refused body are freed", |c| {
                c.shards() == before
            })
            .await;
    }
}

#[tokio::test]
async fn a_body_is_as_long_as_announced_or_leaves_nothing() {
    let cluster = Cluster::new(6).await;
    for size in [10_u64, 200_000] {
        for announced in [size - 1, size + 1] {
            let mut request = request(&cluster.bucket, "k", &bytes(size as usize, 6));
            request.body.length = announced;
            let refused = cluster.engine.put(request).await;
            let Err(EngineError::Length {
                announced: said,
                got,
            }) = refused
            else {
                panic!("{refused:?}")
            };
            assert_eq!((said, got > said), (announced, announced < size));
        }
    }
    let mut huge = request(&cluster.bucket, "k", b"");
    huge.body.length = engine_node::PART_BYTES_MAX + 1;
    assert!(matches!(
        cluster.engine.put(huge).await,
        Err(EngineError::TooLarge)
    ));
    assert!(cluster.is_missing("k").await);
    cluster.until("no shard is left", |c| c.shards() == 0).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_gives_its_own_error_back() {
    use futures::StreamExt;
    let cluster = Cluster::new(6).await;
    let mut request = request(&cluster.bucket, "k", &bytes(9 << 20, 7));
    let whole = request.body.stream;
    let broken = futures::stream::once(async { Err("reset".into()) });
    request.body.stream = whole.take(115).chain(broken).boxed();
    let refused = cluster.engine.put(request).await;
    assert!(matches!(refused, Err(EngineError::Body(e)) if e.to_string() == "reset"));
    cluster.until("no shard is left", |c| c.shards() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_writers_one_wins() {
    let cluster = Cluster::new(6).await;
    let writes = (0..12).map(|n| {
        let mut request = request(&cluster.bucket, "k", &bytes(20_000, n));
        request.condition.if_none_match = Some(EtagMatch::Any);
        cluster.engine.put(request)
    });
    let done = futures::future::join_all(writes).await;
    let won: Vec<_> = done.iter().filter(|done| done.is_ok()).collect();
    assert_eq!(won.len(), 1);
    for lost in done.iter().filter(|done| done.is_err()) {
        assert!(
            matches!(lost, Err(EngineError::Refused(Refusal::PreconditionFailed))),
            "{lost:?}"
        );
    }
    cluster
        .until("the losers' shards are freed", |c| c.shards() == 6)
        .await;
    let got = cluster.all("k").await.unwrap();
    assert_eq!(digest::md5(&got), won[0].as_ref().unwrap().etag.md5);
}

fn customer_encryption() -> Encryption {
    Encryption::Customer {
        salt: [0; 16],
        hmac: [0; 32],
        key_md5: "md5".into(),
    }
}

fn customer_key(byte: u8) -> CustomerKey {
    CustomerKey(Zeroizing::new([byte; 32]))
}

#[tokio::test]
async fn a_customers_key_is_needed_and_must_be_the_same() {
    let cluster = Cluster::new(6).await;
    for size in [50, 300_000] {
        let sent = bytes(size, 8);
        let mut put = request(&cluster.bucket, "k", &sent);
        put.attributes.encryption = customer_encryption();
        put.body.customer_key = Some(customer_key(1));
        let row = cluster.engine.put(put).await.unwrap();
        let stored = &row.attributes.encryption;
        assert!(Engine::customer_key_fits(stored, Some(&customer_key(1))));
        assert!(!Engine::customer_key_fits(stored, Some(&customer_key(2))));
        assert!(!Engine::customer_key_fits(stored, None));
        for wrong in [None, Some(customer_key(2))] {
            let read = cluster
                .engine
                .read(cluster.found("k").await, 0..10, wrong)
                .await;
            assert!(matches!(read, Err(EngineError::CustomerKey)));
        }
        let found = cluster.found("k").await;
        let read = cluster
            .engine
            .read(found, 0..u64::MAX, Some(customer_key(1)))
            .await
            .unwrap();
        assert_eq!(collect(read).await.unwrap(), sent);
    }
    let mut without = request(&cluster.bucket, "k", b"x");
    without.attributes.encryption = customer_encryption();
    assert!(matches!(
        cluster.engine.put(without).await,
        Err(EngineError::CustomerKey)
    ));
}

#[tokio::test]
async fn named_keys_wrap_and_rotate() {
    let cluster = Cluster::new(3).await;
    let named = |name: &str| Encryption::Kms {
        key_id: name.into(),
        context: None,
        bucket_key: false,
    };
    let mut put = request(&cluster.bucket, "k", b"secret");
    put.attributes.encryption = named("tax");
    let refused = cluster.engine.put(put).await;
    assert!(matches!(refused, Err(EngineError::KeyUnavailable(name)) if name == "tax"));
    let made = cluster.engine.create_kms_key("tax").await.unwrap();
    assert_eq!(cluster.engine.create_kms_key("tax").await.unwrap(), made);
    let mut put = request(&cluster.bucket, "k", b"secret");
    put.attributes.encryption = named("tax");
    cluster.engine.put(put).await.unwrap();
    let rotated = cluster.engine.rotate_kms_key("tax").await.unwrap();
    assert_ne!(rotated.current, made.current);
    assert_eq!(cluster.all("k").await.unwrap(), b"secret");
}

pub(crate) fn by() -> (engine_types::AccountId, engine_types::ChargedTo) {
    let account = crate::support::ROOT;
    (account, engine_types::ChargedTo { account, key: None })
}

#[tokio::test]
async fn markers_tags_and_lists() {
    let cluster = Cluster::new(3).await;
    cluster
        .engine
        .set_versioning(&cluster.bucket, Versioning::Enabled)
        .await
        .unwrap();
    let bucket = cluster.engine.bucket("first").await.unwrap();
    let engine = &cluster.engine;
    for name in ["a/1", "a/2", "b"] {
        engine
            .put(request(&bucket, name, name.as_bytes()))
            .await
            .unwrap();
    }
    let page = ListQuery {
        delimiter: "/".into(),
        limit: 10,
        ..ListQuery::default()
    };
    let listed = engine.list(&bucket, page.clone()).await.unwrap();
    assert_eq!(
        (listed.objects.len(), listed.prefixes),
        (1, vec!["a/".to_owned()])
    );
    let tags = vec![("colour".to_owned(), "red".to_owned())];
    let Lookup::Found(found) = engine.find(&bucket, &key("b"), None, false).await.unwrap() else {
        panic!("b is there")
    };
    let tagged = engine
        .set_tags(&found, RestsOn::default(), tags.clone())
        .await
        .unwrap();
    assert_eq!(tagged.attributes.tags, tags);
    let (marker, is_marker) = engine
        .delete(&bucket, &key("b"), None, Condition::default(), by())
        .await
        .unwrap();
    assert!(is_marker);
    let current = engine.find(&bucket, &key("b"), None, true).await.unwrap();
    assert!(matches!(current, Lookup::Marker(id, _) if Some(id) == marker));
    let named = engine.find(&bucket, &key("b"), marker, true).await.unwrap();
    assert!(matches!(named, Lookup::Marker(id, _) if Some(id) == marker));
    let Lookup::Found(old) = engine
        .find(&bucket, &key("b"), Some(tagged.version), true)
        .await
        .unwrap()
    else {
        panic!("the version below the marker is there")
    };
    assert_eq!(old.found.row.attributes.tags, tags);
    let versions = engine.list_versions(
        &bucket,
        ListQuery {
            limit: 10,
            ..ListQuery::default()
        },
        None,
    );
    assert_eq!(versions.await.unwrap().versions.len(), 4);
}

#[tokio::test]
async fn new_attributes_for_the_same_bytes() {
    let cluster = Cluster::new(6).await;
    let sent = bytes(100_000, 9);
    cluster.put("k", &sent).await.unwrap();
    let before = cluster.shards();
    let mut attributes = attributes();
    attributes.user = vec![("colour".into(), "blue".into())];
    let found = cluster.found("k").await;
    let made = cluster
        .engine
        .reattribute(&found, Condition::default(), attributes.clone(), None);
    assert_eq!(made.await.unwrap().unwrap().attributes, attributes);
    assert_eq!(
        (cluster.all("k").await.unwrap(), cluster.shards()),
        (sent, before)
    );
    let again = cluster
        .engine
        .reattribute(&found, Condition::default(), attributes.clone(), None)
        .await;
    assert!(matches!(again, Err(EngineError::Refused(Refusal::Changed))));
    attributes.encryption = customer_encryption();
    let found = cluster.found("k").await;
    let rewrapped = cluster
        .engine
        .reattribute(&found, Condition::default(), attributes, None)
        .await;
    assert!(matches!(rewrapped, Ok(None)));
}
