//! What clients send: policies, forms, heads, values of headers, ids.

use engine_types::{CopyToken, DataId, ETag, ObjectKey, UploadId, VersionId};
use gateway_policy::{Mismatch, Mode, Policy, Principal, Request, Source, evaluate, is_public};
use gateway_s3::fuzzing;
use http::request::Parts;

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"one","Effect":"Allow","Principal":{"AWS":["111122223333","*"]},"Action":["s3:GetObject","s3:Put*"],"Resource":"arn:aws:s3:::b/*","Condition":{"StringLike":{"aws:Referer":["a*","${aws:username, 'x'}"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"},"NumericLessThan":{"s3:max-keys":10}}},{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"NotAction":"s3:List*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/x?y"]}]}"#;
const IDENTITY: &str =
    r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"},"Id":"x"}"#;

pub(crate) fn policy(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let bucket = Mode::Bucket {
        bucket: "b",
        mismatch: Mismatch::Accept,
    };
    let mut accepted = false;
    for mode in [
        bucket,
        Mode::Session,
        Mode::Trust,
        Mode::Identity { chars_max: 2048 },
    ] {
        let Ok(policy) = Policy::parse(text, mode) else {
            continue;
        };
        accepted = true;
        let _public = is_public(&policy);
        let request = Request::new(Principal::Anonymous, "s3:GetObject", "arn:aws:s3:::b/x")
            .with("aws:Referer", "abc")
            .with("aws:SourceIp", "10.1.2.3")
            .with("aws:CurrentTime", "2029-01-01T00:00:00Z")
            .with("s3:max-keys", "9");
        let _decision = evaluate(
            &[Source {
                policy: &policy,
                name: "fuzzed",
            }],
            &request,
        );
    }
    accepted
}

pub(crate) fn policies() -> Vec<Vec<u8>> {
    vec![POLICY.into(), IDENTITY.into()]
}

/// Size of the pieces, content type up to a line feed, body.
pub(crate) fn form(bytes: &[u8]) -> bool {
    let Some((step, rest)) = bytes.split_first() else {
        return false;
    };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let (head, body) = rest.split_at(end);
    let Ok(content_type) = std::str::from_utf8(head) else {
        return false;
    };
    fuzzing::form(*step, content_type, body.get(1..).unwrap_or_default())
}

pub(crate) fn forms() -> Vec<Vec<u8>> {
    let part = |head: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    let body = part(r#"name="key""#, "user/${filename}")
        + &part(r#"name="Content-Type""#, "text/plain")
        + &part(
            r#"name="file"; filename*=UTF-8''a%20b; filename="C:\dir\\\"x.txt""#,
            "the file",
        )
        + "--B--\r\n";
    vec![format!("\u{7}multipart/form-data; boundary=B\n{body}").into()]
}

pub(crate) fn form_policy(bytes: &[u8]) -> bool {
    fuzzing::form_policy(bytes)
}

pub(crate) fn form_policies() -> Vec<Vec<u8>> {
    let policy = r#"{"expiration":"2030-01-01T00:00:00.000Z","conditions":[["starts-with","$key","user/"],{"bucket":"bucket"},["eq","$Content-Type","text/plain"],["content-length-range",0,100]]}"#;
    vec![policy.into()]
}

/// Method, target, then headers, a line each: what hyper would have handed over.
pub(crate) fn parts(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut builder = http::Request::builder()
        .method(lines.next()?)
        .uri(lines.next()?);
    for line in lines.filter(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(at);
        builder = builder.header(name, value.get(1..)?.trim_ascii());
    }
    builder.body(()).ok().map(|request| request.into_parts().0)
}

pub(crate) fn head(bytes: &[u8]) -> bool {
    parts(bytes).is_some_and(|parts| fuzzing::head(&parts))
}

pub(crate) fn heads() -> Vec<Vec<u8>> {
    let auth = "authorization:AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, \
                SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000";
    let put = format!(
        "PUT\n/bucket/key?partNumber=1&uploadId=x\nhost:h\ncontent-length:3\nx-amz-date:20260101T000000Z\n\
         x-amz-content-sha256:UNSIGNED-PAYLOAD\ncontent-md5:1B2M2Y8AsgTpgAmY7PhCfg==\nx-amz-meta-a:b\n{auth}"
    );
    let copy = "PUT\n/bucket/key\nhost:h\ncontent-length:0\nx-amz-copy-source:/b/k%20x?versionId=null\n\
                x-amz-tagging:a=b&c=d\nreferer:http://a/";
    let get = "GET\n/bucket?list-type=2&prefix=a%2Fb&max-keys=5&X-Amz-Algorithm=AWS4-HMAC-SHA256\
               &X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z\
               &X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0\nhost:h";
    vec![put.into(), copy.into(), get.into()]
}

/// Kind of the framing, size of the pieces, body.
pub(crate) fn chunked(bytes: &[u8]) -> bool {
    let Some((&[kind, step], body)) = bytes.split_first_chunk() else {
        return false;
    };
    fuzzing::chunked(kind, step, body)
}

pub(crate) fn chunked_seeds() -> Vec<Vec<u8>> {
    let signature = "0".repeat(64);
    let signed =
        format!("5;chunk-signature={signature}\r\nabcde\r\n0;chunk-signature={signature}\r\n");
    let trailer = "x-amz-checksum-crc32:AAAAAA==\r\n";
    [
        (0, "5\r\nabcde\r\n0\r\n\r\n".to_owned()),
        (1, format!("{signed}\r\n")),
        (2, format!("00000005\r\nabcde\r\n0\r\n{trailer}\r\n")),
        (
            3,
            format!("{signed}{trailer}x-amz-trailer-signature:{signature}\r\n\r\n"),
        ),
    ]
    .into_iter()
    .map(|(kind, body)| [&[kind, 3], body.as_bytes()].concat())
    .collect()
}

/// The first byte picks whose value the rest is.
pub(crate) fn values(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else {
        return false;
    };
    std::str::from_utf8(rest).is_ok_and(|text| fuzzing::value(*kind, text))
}

pub(crate) fn value_seeds() -> Vec<Vec<u8>> {
    let seeds: [(u8, &str); 19] = [
        (0, "a=b&c=%20d"),
        (1, "bytes=0-0"),
        (2, "bytes=0-0"),
        (4, "null"),
        (5, "a/b"),
        (
            6,
            r#"id="x", uri="http://acs.amazonaws.com/groups/global/AllUsers""#,
        ),
        (7, r#""9e107d9d372bb6826bd81d3542a419d6""#),
        (7, "*"),
        (8, "a+b%20c"),
        (9, "b.s3.example.com:9000"),
        (10, "10.0.0.0/8"),
        (10, "fd00::1"),
        (11, "CRC32C"),
        (11, "SHA256"),
        (12, "eyJhIjoiYiJ9"),
        (
            13,
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        ),
        (14, "/bucket/a%20key?versionId=null"),
        (15, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (
            16,
            "AES256\nMDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\nKYvwGXoFFJ42a2u2GDWhwQ==",
        ),
    ];
    seeds
        .iter()
        .map(|(kind, text)| [&[*kind], text.as_bytes()].concat())
        .collect()
}

/// The first byte picks the document.
pub(crate) fn documents(bytes: &[u8]) -> bool {
    bytes
        .split_first()
        .is_some_and(|(kind, rest)| fuzzing::document(*kind, rest))
}

pub(crate) fn document_seeds() -> Vec<Vec<u8>> {
    let policy = engine_core::meta::encode(&(POLICY.to_owned(), true));
    vec![
        vec![0],
        vec![1, 1, 2],
        vec![2, 1, 1, 0, 1, 0],
        [vec![3], policy].concat(),
    ]
}

/// Ids and tags as text.
pub(crate) fn ids(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let tag = text.parse::<ETag>();
    if let Ok(tag) = tag {
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }
    let version = text.parse::<VersionId>();
    if let Ok(version) = version {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    let others = [
        text.parse::<UploadId>().is_ok(),
        text.parse::<DataId>().is_ok(),
        text.parse::<CopyToken>().is_ok(),
        engine_types::BucketName::parse(text).is_ok(),
        ObjectKey::parse(text).is_ok(),
        engine_types::StorageClass::parse(text).is_ok(),
    ];
    tag.is_ok() || version.is_ok() || others.contains(&true)
}

pub(crate) fn id_seeds() -> Vec<Vec<u8>> {
    let id = "9e107d9d372bb6826bd81d3542a419d6";
    vec![
        id.into(),
        format!("\"{id}-12\"").into(),
        "null".into(),
        "my-bucket.name".into(),
        "GLACIER_IR".into(),
    ]
}

/// The first byte picks the operation, the rest is its XML body.
pub(crate) fn body(bytes: &[u8]) -> bool {
    bytes
        .split_first()
        .is_some_and(|(kind, xml)| fuzzing::body(*kind, xml))
}

pub(crate) fn body_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "<Delete><Quiet>true</Quiet><Object><Key>a&amp;b</Key><VersionId>null</VersionId></Object></Delete>",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;9e107d9d372bb6826bd81d3542a419d6&quot;</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>",
        "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        "<CORSConfiguration><CORSRule><ID>one</ID><AllowedOrigin>http://*.a</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader><ExposeHeader>etag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>",
        "<AccessControlPolicy><Owner><ID>a1</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>a1</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>",
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    ];
    let numbered = (0..fuzzing::BODIES).zip(seeds);
    numbered
        .map(|(kind, xml)| [&[kind], xml.as_bytes()].concat())
        .collect()
}
