//! One round trip with the AWS SDK for Rust. Arguments: SMALL BIG BUCKET ODD_KEY.

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use std::time::Duration;

const PART_BYTES: usize = 5 << 20;
type Done<T> = Result<T, Box<dyn std::error::Error>>;

async fn get(s3: &Client, bucket: &str, key: &str, range: Option<&str>) -> Done<Vec<u8>> {
    let got = s3.get_object().bucket(bucket).key(key).set_range(range.map(Into::into)).send().await?;
    Ok(got.body.collect().await?.to_vec())
}

async fn multipart(s3: &Client, bucket: &str, big: &[u8]) -> Done<()> {
    let made = s3.create_multipart_upload().bucket(bucket).key("big").send().await?;
    let id = made.upload_id().ok_or("no upload id")?;
    let mut parts = CompletedMultipartUpload::builder();
    for (number, body) in (1..).zip(big.chunks(PART_BYTES)) {
        let body = ByteStream::from(body.to_vec());
        let part = s3.upload_part().bucket(bucket).key("big").upload_id(id).part_number(number).body(body);
        let tag = part.send().await?.e_tag().ok_or("no ETag")?.to_owned();
        parts = parts.parts(CompletedPart::builder().part_number(number).e_tag(tag).build());
    }
    let complete = s3.complete_multipart_upload().bucket(bucket).key("big").upload_id(id);
    complete.multipart_upload(parts.build()).send().await?;
    Ok(())
}

async fn read_back(s3: &Client, bucket: &str, odd: &str, small: &[u8], big: &[u8]) -> Done<()> {
    let head = s3.head_object().bucket(bucket).key(odd).send().await?;
    assert_eq!(head.metadata().and_then(|m| m.get("colour")).map(String::as_str), Some("blue"));
    let mut pages = s3.list_objects_v2().bucket(bucket).max_keys(1).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.extend(page?.contents().iter().filter_map(|o| o.key().map(str::to_owned)));
    }
    assert_eq!(keys, ["big", odd]);
    assert!(get(s3, bucket, odd, None).await? == small, "small differs");
    assert!(get(s3, bucket, "big", None).await? == big, "big differs");
    let range = get(s3, bucket, "big", Some("bytes=5242870-5242889")).await?;
    assert!(range == big[5_242_870..5_242_890], "range differs");
    let signed = s3.get_object().bucket(bucket).key(odd);
    let signed = signed.presigned(PresigningConfig::expires_in(Duration::from_secs(300))?).await?;
    if signed.uri().starts_with("http://") {
        let body = ureq::get(signed.uri()).call()?.body_mut().read_to_vec()?;
        assert!(body == small, "presigned GET differs");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [small, big, bucket, odd] = &args[..] else { return Err("SMALL BIG BUCKET ODD_KEY".into()) };
    let (small, big) = (std::fs::read(small)?, std::fs::read(big)?);
    let config = aws_config::load_from_env().await;
    let config = aws_sdk_s3::config::Builder::from(&config)
        .endpoint_url(std::env::var("S3_ENDPOINT")?)
        .force_path_style(true)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    let s3 = Client::from_conf(config);
    s3.create_bucket().bucket(bucket).send().await?;
    let put = s3.put_object().bucket(bucket).key(odd).metadata("colour", "blue");
    put.body(ByteStream::from(small.clone())).send().await?;
    multipart(&s3, bucket, &big).await?;
    read_back(&s3, bucket, odd, &small, &big).await?;
    let source = odd.bytes().fold(format!("{bucket}/"), |text, byte| format!("{text}%{byte:02X}"));
    s3.copy_object().bucket(bucket).key("copied").copy_source(source).send().await?;
    assert!(get(&s3, bucket, "copied", None).await? == small, "copy differs");
    let again = s3.put_object().bucket(bucket).key(odd).if_none_match("*").send().await;
    let refused = again.err().and_then(|e| e.raw_response().map(|r| r.status().as_u16()));
    assert_eq!(refused, Some(412), "If-None-Match: * was not refused");
    let mut all = Delete::builder();
    for key in ["big", odd, "copied"] {
        all = all.objects(ObjectIdentifier::builder().key(key).build()?);
    }
    let gone = s3.delete_objects().bucket(bucket).delete(all.build()?).send().await?;
    assert_eq!(gone.deleted().len(), 3);
    s3.delete_bucket().bucket(bucket).send().await?;
    println!("ok");
    Ok(())
}
