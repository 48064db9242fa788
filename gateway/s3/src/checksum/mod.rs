//! Digests a client declares: Content-MD5, and one of the five `x-amz-checksum-*` as header or as
//! trailer. What was declared is compared before anything is committed.

mod declared;

pub(crate) use declared::{Declared, announced, check_document, check_document_md5};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use engine_types::{Checksum, ChecksumAlgorithm, ChecksumType};
use s3s::{S3Error, S3Result, s3_error};

/// The five, in the order of S3's documents, with their header and their name.
pub(crate) const ALGORITHMS: [(ChecksumAlgorithm, &str, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "x-amz-checksum-crc32", "CRC32"),
    (ChecksumAlgorithm::Crc32c, "x-amz-checksum-crc32c", "CRC32C"),
    (
        ChecksumAlgorithm::Crc64Nvme,
        "x-amz-checksum-crc64nvme",
        "CRC64NVME",
    ),
    (ChecksumAlgorithm::Sha1, "x-amz-checksum-sha1", "SHA1"),
    (ChecksumAlgorithm::Sha256, "x-amz-checksum-sha256", "SHA256"),
];

/// `CRC32` and so on.
pub(crate) fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    ALGORITHMS
        .iter()
        .find(|(a, ..)| *a == algorithm)
        .map_or("", |(.., name)| name)
}

/// `x-amz-checksum-crc32` and so on.
pub(crate) fn header(algorithm: ChecksumAlgorithm) -> &'static str {
    ALGORITHMS
        .iter()
        .find(|(a, ..)| *a == algorithm)
        .map_or("", |(_, header, _)| header)
}

/// From its name, in any case.
pub(crate) fn parse_name(text: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALGORITHMS
        .iter()
        .find(|(.., name)| name.eq_ignore_ascii_case(text));
    found.map(|(algorithm, ..)| *algorithm).ok_or_else(|| {
        s3_error!(
            InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid \
             types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    })
}

/// The values a DTO of s3s carries, in the order of [`ALGORITHMS`].
pub(crate) type Values = [Option<String>; 5];

/// Takes [`Values`] from a DTO of s3s.
macro_rules! checksum_values {
    ($input:expr) => {
        [
            $input.checksum_crc32.clone(),
            $input.checksum_crc32c.clone(),
            $input.checksum_crc64nvme.clone(),
            $input.checksum_sha1.clone(),
            $input.checksum_sha256.clone(),
        ]
    };
}
pub(crate) use checksum_values;

/// Writes a checksum's text into the field of its algorithm.
macro_rules! set_checksum {
    ($output:expr, $algorithm:expr, $text:expr) => {{
        use engine_types::ChecksumAlgorithm;
        let text = Some($text);
        match $algorithm {
            ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = text,
            ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = text,
            ChecksumAlgorithm::Crc64Nvme => $output.checksum_crc64nvme = text,
            ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = text,
            ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = text,
        }
    }};
}
pub(crate) use set_checksum;

/// Base64, with `-N` where it is composed of N parts.
pub(crate) fn text(checksum: &Checksum) -> String {
    let value = BASE64.encode(&checksum.value);
    match checksum.kind {
        ChecksumType::FullObject => value,
        ChecksumType::Composite => format!("{value}-{}", checksum.parts),
    }
}

/// Base64 of a bare value.
pub(crate) fn value_text(value: &[u8]) -> String {
    BASE64.encode(value)
}

/// `FULL_OBJECT` or `COMPOSITE`.
pub(crate) fn kind(kind: ChecksumType) -> s3s::dto::ChecksumType {
    use s3s::dto::ChecksumType as Dto;
    match kind {
        ChecksumType::FullObject => Dto::from_static(Dto::FULL_OBJECT),
        ChecksumType::Composite => Dto::from_static(Dto::COMPOSITE),
    }
}

fn invalid_value(header: &str) -> S3Error {
    s3_error!(InvalidRequest, "Value for {header} header is invalid.")
}

/// A value of this algorithm: base64 of the right length, a composite's `-N` dropped.
fn decode(algorithm: ChecksumAlgorithm, header: &str, text: &str) -> S3Result<Vec<u8>> {
    let bare = text.split_once('-').map_or(text, |(value, _count)| value);
    match BASE64.decode(bare) {
        Ok(value) if value.len() == algorithm.bytes() => Ok(value),
        Ok(_) | Err(_) => Err(invalid_value(header)),
    }
}

/// The one checksum among `values`.
pub(crate) fn single(values: &Values) -> S3Result<Option<(ChecksumAlgorithm, Vec<u8>)>> {
    let mut found = None;
    for ((algorithm, header, _), value) in ALGORITHMS.iter().zip(values) {
        let Some(value) = value else { continue };
        if found.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            ));
        }
        found = Some((*algorithm, decode(*algorithm, header, value)?));
    }
    Ok(found)
}
