//! Checksums of uploads, of their parts and of the objects they make.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_parts_make_the_objects() {
    let cluster = Cluster::new(3).await;
    let bodies = [bytes(PART_BYTES_MIN as usize, 1), bytes(1000, 2)];
    let kinds = [
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
    ];
    for (algorithm, kind) in kinds {
        let upload = create(&cluster, Some((algorithm, kind))).await;
        let mut rows = Vec::new();
        for (number, bytes) in (1..).zip(&bodies) {
            let mut request = part(&cluster, upload, number, bytes);
            request.body.algorithms = vec![algorithm];
            request.stored_checksum = Some(algorithm);
            rows.push(cluster.engine.put_part(request).await.unwrap());
        }
        let complete = |cluster: &Cluster, upload, parts: &[(u16, &UploadPartRow)]| {
            let mut request = complete(cluster, upload, parts);
            for (named, (_, row)) in request.parts.iter_mut().zip(parts) {
                named.2.clone_from(&row.checksum);
            }
            request
        };
        let parts = [(1, &rows[0]), (2, &rows[1])];
        let mut wrong = complete(&cluster, upload, &parts);
        wrong.checksum.value = Some((algorithm, vec![0; algorithm.bytes()]));
        let refused = cluster.engine.complete(wrong).await;
        assert!(matches!(refused, Err(EngineError::ChecksumMismatch)));
        let mut right = complete(&cluster, upload, &parts);
        let whole = match kind {
            ChecksumType::FullObject => bodies.concat(),
            ChecksumType::Composite => bodies
                .iter()
                .flat_map(|body| digest::checksum(algorithm, body))
                .collect(),
        };
        let value = digest::checksum(algorithm, &whole);
        right.checksum = ChecksumSaid {
            algorithm: Some(algorithm),
            kind: Some(kind),
            value: Some((algorithm, value.clone())),
        };
        let row = cluster.engine.complete(right).await.unwrap();
        assert_eq!(row.checksum.unwrap().value, value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_named_no_checksum_gets_the_default_one() {
    let cluster = Cluster::new(3).await;
    let (default, sent) = (ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1);
    let upload = create(&cluster, None).await;
    let mut request = part(&cluster, upload, 1, b"abc");
    request.body.algorithms = vec![default, sent];
    request.stored_checksum = Some(default);
    request.declared_checksum = Some(sent);
    let row = cluster.engine.put_part(request).await.unwrap();
    assert_eq!(row.declared, Some((sent, digest::checksum(sent, b"abc"))));
    // What was sent with the part may be named again; another value may not.
    let mut wrong = complete(&cluster, upload, &[(1, &row)]);
    wrong.parts[0].2 = Some((sent, vec![0; sent.bytes()]));
    let refused = cluster.engine.complete(wrong).await;
    assert!(matches!(refused, Err(EngineError::InvalidPart(1))));
    let mut right = complete(&cluster, upload, &[(1, &row)]);
    right.parts[0].2 = Some((sent, digest::checksum(sent, b"abc")));
    let made = cluster.engine.complete(right).await.unwrap();
    let checksum = made.checksum.unwrap();
    assert_eq!(
        (checksum.algorithm, checksum.kind, checksum.value),
        (
            default,
            ChecksumType::FullObject,
            digest::checksum(default, b"abc")
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_complete_says_of_the_checksum_must_be_as_the_upload_has_it() {
    let cluster = Cluster::new(3).await;
    let (own, other) = (ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Sha1);
    let upload = create(&cluster, Some((own, ChecksumType::Composite))).await;
    let mut request = part(&cluster, upload, 1, b"abc");
    request.body.algorithms = vec![own];
    request.stored_checksum = Some(own);
    let row = cluster.engine.put_part(request).await.unwrap();
    let bare = complete(&cluster, upload, &[(1, &row)]);
    let refused = cluster.engine.complete(bare).await;
    assert!(matches!(
        refused,
        Err(EngineError::ChecksumMissing(1, ChecksumAlgorithm::Sha256))
    ));
    let said = [
        ChecksumSaid {
            algorithm: Some(other),
            ..ChecksumSaid::default()
        },
        ChecksumSaid {
            kind: Some(ChecksumType::FullObject),
            ..ChecksumSaid::default()
        },
        ChecksumSaid {
            value: Some((other, vec![0; other.bytes()])),
            ..ChecksumSaid::default()
        },
    ];
    for said in said {
        let mut request = complete(&cluster, upload, &[(1, &row)]);
        request.parts[0].2.clone_from(&row.checksum);
        request.checksum = said.clone();
        let refused = cluster.engine.complete(request).await;
        assert!(
            matches!(
                refused,
                Err(EngineError::ChecksumOfAnother(
                    ChecksumAlgorithm::Sha256,
                    ChecksumType::Composite
                ))
            ),
            "{said:?}"
        );
    }
    assert!(cluster.is_missing("k").await);
}
