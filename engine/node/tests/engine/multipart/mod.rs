//! Multipart uploads.

mod checksums;

use crate::support::{Cluster, ROOT, attributes, body, bytes, collect, key};
use engine_core::digest;
use engine_core::meta::{Condition, Encryption, ListQuery, Refusal, UploadPartRow};
use engine_node::{
    ChecksumSaid, CompleteRequest, CustomerKey, EngineError, PART_BYTES_MIN, PARTS_MAX,
    PartRequest, Rejudge,
};
use engine_types::{ChargedTo, ChecksumAlgorithm, ChecksumType, ETag, UploadId};
use zeroize::Zeroizing;

fn part<'a>(cluster: &Cluster, upload: UploadId, number: u16, bytes: &[u8]) -> PartRequest<'a> {
    PartRequest {
        bucket: cluster.bucket.clone(),
        key: key("k"),
        upload,
        number,
        charged_to: ChargedTo {
            account: ROOT,
            key: None,
        },
        stored_checksum: None,
        declared_checksum: None,
        body: body(bytes),
        rejudge: Rejudge::new(|_| async { Ok(()) }),
    }
}

fn complete(
    cluster: &Cluster,
    upload: UploadId,
    parts: &[(u16, &UploadPartRow)],
) -> CompleteRequest {
    let tag = |part: &UploadPartRow| {
        Some(ETag {
            md5: part.md5,
            parts: 0,
        })
    };
    CompleteRequest {
        bucket: cluster.bucket.clone(),
        key: key("k"),
        upload,
        condition: Condition::default(),
        parts: parts
            .iter()
            .map(|(n, part)| (*n, tag(part), None))
            .collect(),
        checksum: ChecksumSaid::default(),
        customer_key: None,
        size: None,
    }
}

async fn create(
    cluster: &Cluster,
    checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
) -> UploadId {
    let by = (ROOT, "AKIAROOT".to_owned());
    let at = key("k");
    let created =
        cluster
            .engine
            .create_upload(&cluster.bucket, &at, attributes(), by, checksum, None);
    created.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_an_object_with_the_known_tag() {
    let cluster = Cluster::new(6).await;
    let upload = create(&cluster, None).await;
    let min = PART_BYTES_MIN as usize;
    let bodies = [bytes(min, 1), bytes(9 << 20, 2), bytes(5, 3)];
    let mut rows = Vec::new();
    for (number, body) in [
        (7, &bodies[1]),
        (3, &bodies[0]),
        (9, &bodies[2]),
        (8, &bodies[2]),
    ] {
        rows.push((
            number,
            cluster
                .engine
                .put_part(part(&cluster, upload, number, body))
                .await
                .unwrap(),
        ));
    }
    let listed = cluster
        .engine
        .list_parts(&cluster.bucket, &key("k"), upload, 0, 1000)
        .await
        .unwrap();
    assert_eq!(
        listed.parts.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
        [3, 7, 8, 9]
    );
    let (seven, three, nine) = (&rows[0].1, &rows[1].1, &rows[2].1);
    let request = || complete(&cluster, upload, &[(3, three), (7, seven), (9, nine)]);
    let row = cluster.engine.complete(request()).await.unwrap();
    let md5s: Vec<u8> = bodies.iter().flat_map(|body| digest::md5(body)).collect();
    assert_eq!(
        row.etag,
        ETag {
            md5: digest::md5(&md5s),
            parts: 3
        }
    );
    assert_eq!(
        (row.size, &row.attributes),
        ((min + (9 << 20) + 5) as u64, &attributes())
    );
    assert_eq!(
        cluster.engine.complete(request()).await.unwrap().order,
        row.order,
        "repeated"
    );
    let whole = bodies.concat();
    assert!(cluster.all("k").await.unwrap() == whole);
    for range in [
        0..1,
        min as u64 - 1..min as u64 + 1,
        min as u64 + 5..row.size - 2,
        row.size - 6..row.size,
    ] {
        let got = cluster.get("k", range.clone()).await.unwrap();
        assert!(
            got == whole[range.start as usize..range.end as usize],
            "{range:?}"
        );
    }
    let found = cluster.found("k").await;
    let at = |n| cluster.engine.part_range(&found, n);
    let (range, parts, _) = at(7).await.unwrap().unwrap();
    assert_eq!((range, parts), (min as u64..(min + (9 << 20)) as u64, 3));
    assert_eq!(at(8).await.unwrap(), None);
    let (page, more) = cluster.engine.object_parts(&found, 3, 1).await.unwrap();
    assert_eq!((page[0].number, more), (7, true));
    let (page, more) = cluster.engine.object_parts(&found, 7, 10).await.unwrap();
    assert_eq!((page.len(), page[0].number, more), (1, 9, false));
    let uploads = cluster.engine.list_uploads(
        &cluster.bucket,
        ListQuery {
            limit: 10,
            ..Default::default()
        },
        None,
    );
    assert!(uploads.await.unwrap().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_refuses_what_does_not_fit() {
    let cluster = Cluster::new(3).await;
    let upload = create(&cluster, None).await;
    let a = cluster
        .engine
        .put_part(part(&cluster, upload, 1, &bytes(20_000, 1)))
        .await
        .unwrap();
    let b = cluster
        .engine
        .put_part(part(&cluster, upload, 2, &bytes(20_000, 2)))
        .await
        .unwrap();
    let engine = &cluster.engine;
    let small = engine
        .complete(complete(&cluster, upload, &[(1, &a), (2, &b)]))
        .await;
    assert!(matches!(small, Err(EngineError::PartTooSmall(1))));
    let order = engine
        .complete(complete(&cluster, upload, &[(2, &b), (1, &a)]))
        .await;
    assert!(matches!(order, Err(EngineError::InvalidPartOrder)));
    let twice = engine
        .complete(complete(&cluster, upload, &[(1, &a), (1, &a)]))
        .await;
    assert!(matches!(twice, Err(EngineError::InvalidPartOrder)));
    let wrong = engine
        .complete(complete(&cluster, upload, &[(1, &b)]))
        .await;
    assert!(matches!(wrong, Err(EngineError::InvalidPart(1))));
    let absent = engine
        .complete(complete(&cluster, upload, &[(3, &b)]))
        .await;
    assert!(matches!(absent, Err(EngineError::InvalidPart(3))));
    let mut size = complete(&cluster, upload, &[(1, &a)]);
    size.size = Some(19_999);
    assert!(matches!(
        engine.complete(size).await,
        Err(EngineError::SizeMismatch)
    ));
    let last = part(&cluster, upload, PARTS_MAX, b"x");
    engine.put_part(last).await.unwrap();
    for number in [0, PARTS_MAX + 1] {
        let refused = engine.put_part(part(&cluster, upload, number, b"x")).await;
        assert!(matches!(refused, Err(EngineError::InvalidPart(n)) if n == number));
    }
    engine
        .abort(&cluster.bucket, &key("k"), upload)
        .await
        .unwrap();
    let gone = engine.put_part(part(&cluster, upload, 1, b"x")).await;
    assert!(matches!(
        gone,
        Err(EngineError::Refused(Refusal::NoSuchUpload))
    ));
    let gone = engine
        .complete(complete(&cluster, upload, &[(1, &a)]))
        .await;
    assert!(matches!(
        gone,
        Err(EngineError::Refused(Refusal::NoSuchUpload))
    ));
    assert!(cluster.is_missing("k").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_need_the_uploads_customer_key() {
    let cluster = Cluster::new(3).await;
    let key_of = |byte| CustomerKey(Zeroizing::new([byte; 32]));
    let mut sealed = attributes();
    sealed.encryption = Encryption::Customer {
        salt: [0; 16],
        hmac: [0; 32],
        key_md5: "m".into(),
    };
    let by = (ROOT, "AKIAROOT".to_owned());
    let upload = cluster
        .engine
        .create_upload(
            &cluster.bucket,
            &key("k"),
            sealed,
            by,
            None,
            Some(key_of(1)),
        )
        .await
        .unwrap();
    for wrong in [None, Some(key_of(2))] {
        let mut request = part(&cluster, upload, 1, b"abc");
        request.body.customer_key = wrong;
        assert!(matches!(
            cluster.engine.put_part(request).await,
            Err(EngineError::CustomerKey)
        ));
    }
    let mut request = part(&cluster, upload, 1, b"abc");
    request.body.customer_key = Some(key_of(1));
    let row = cluster.engine.put_part(request).await.unwrap();
    let mut wrong = complete(&cluster, upload, &[(1, &row)]);
    wrong.customer_key = Some(key_of(2));
    assert!(matches!(
        cluster.engine.complete(wrong).await,
        Err(EngineError::CustomerKey)
    ));
    cluster
        .engine
        .complete(complete(&cluster, upload, &[(1, &row)]))
        .await
        .unwrap();
    let found = cluster.found("k").await;
    let read = cluster
        .engine
        .read(found, 1..3, Some(key_of(1)))
        .await
        .unwrap();
    assert_eq!(collect(read).await.unwrap(), b"bc");
    let found = cluster.found("k").await;
    assert!(matches!(
        cluster.engine.read(found, 1..3, None).await,
        Err(EngineError::CustomerKey)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_several_chunks_are_paged() {
    let cluster = Cluster::new(1).await;
    let upload = create(&cluster, None).await;
    let min = PART_BYTES_MIN as usize;
    let body = bytes(min, 1);
    // 258 parts: two chunks of a manifest.
    let mut rows = Vec::new();
    for number in 1..=258 {
        rows.push(
            cluster
                .engine
                .put_part(part(&cluster, upload, number, &body))
                .await
                .unwrap(),
        );
    }
    let parts: Vec<(u16, &UploadPartRow)> = (1..).zip(&rows).collect();
    cluster
        .engine
        .complete(complete(&cluster, upload, &parts))
        .await
        .unwrap();
    let start = 256 * PART_BYTES_MIN;
    let got = cluster.get("k", start - 2..start + 3).await.unwrap();
    assert_eq!(got, [&body[min - 2..], &body[..3]].concat());
    let found = cluster.found("k").await;
    let (range, parts, _) = cluster
        .engine
        .part_range(&found, 258)
        .await
        .unwrap()
        .unwrap();
    let due = 257 * PART_BYTES_MIN..258 * PART_BYTES_MIN;
    assert_eq!((range, parts), (due, 258));
    let (page, more) = cluster.engine.object_parts(&found, 250, 100).await.unwrap();
    assert_eq!((page.len(), more), (8, false));
}
