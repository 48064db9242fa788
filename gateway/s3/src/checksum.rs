//! Digests a client declares: Content-MD5, and one of the five `x-amz-checksum-*` as header or as
//! trailer. What was declared is compared before anything is committed.

use crate::error::malformed_trailer;
use crate::request::RequestState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use engine_node::{BodyDigests, BodyError, Verify};
use engine_types::{Checksum, ChecksumAlgorithm, ChecksumType};
use http::HeaderMap;
use s3s::crypto::Checksum as _;
use s3s::{S3Error, S3Result, TrailingHeaders, s3_error};

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

/// Names that S3 also knows and we do not compute.
const OTHERS: [&str; 5] = [
    "x-amz-checksum-md5",
    "x-amz-checksum-sha512",
    "x-amz-checksum-xxhash64",
    "x-amz-checksum-xxhash3",
    "x-amz-checksum-xxhash128",
];

/// `CRC32` and so on.
pub(crate) fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    ALGORITHMS
        .iter()
        .find(|(a, ..)| *a == algorithm)
        .map_or("", |(.., name)| name)
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

/// What a request declares of its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    md5: Option<Vec<u8>>,
    header: Option<(ChecksumAlgorithm, Vec<u8>)>,
    trailer: Option<ChecksumAlgorithm>,
}

impl Declared {
    /// From a request's DTO values and headers.
    pub(crate) fn of(values: &Values, md5: Option<&str>, headers: &HeaderMap) -> S3Result<Self> {
        if OTHERS.iter().any(|other| headers.contains_key(*other)) {
            return Err(s3_error!(
                NotImplemented,
                "Only CRC32, CRC32C, CRC64NVME, SHA1 and SHA256 are built"
            ));
        }
        let header = single(values)?;
        let trailer = announced(headers)?;
        if header.is_some() && trailer.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            ));
        }
        let declared = Self {
            md5: md5.map(decode_md5).transpose()?,
            header,
            trailer,
        };
        declared.fits_sdk_header(headers)?;
        Ok(declared)
    }

    /// `x-amz-sdk-checksum-algorithm` promises a value of that algorithm.
    fn fits_sdk_header(&self, headers: &HeaderMap) -> S3Result<()> {
        let Some(promised) = headers.get("x-amz-sdk-checksum-algorithm") else {
            return Ok(());
        };
        let promised = parse_name(promised.to_str().unwrap_or_default())?;
        match self.algorithm() {
            Some(algorithm) if algorithm == promised => Ok(()),
            Some(_) => Err(invalid_value("x-amz-sdk-checksum-algorithm")),
            None => Err(s3_error!(
                InvalidRequest,
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
                 x-amz-trailer headers were found."
            )),
        }
    }

    /// The algorithm of the declared checksum.
    pub(crate) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.header
            .as_ref()
            .map(|(algorithm, _)| *algorithm)
            .or(self.trailer)
    }

    /// Judges a body once it is whole.
    pub(crate) fn verify(self, trailers: Option<TrailingHeaders>) -> Verify {
        Box::new(move |digests| {
            self.judge(digests, trailers.as_ref())
                .map_err(|e| Box::new(e) as BodyError)
        })
    }

    fn judge(&self, digests: &BodyDigests, trailers: Option<&TrailingHeaders>) -> S3Result<()> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-checksum-compare") {
            return Ok(());
        }
        if self.md5.as_deref().is_some_and(|md5| md5 != digests.md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        let sent = match (&self.header, self.trailer) {
            (Some(sent), _) => Some(sent.clone()),
            (None, Some(algorithm)) => Some((algorithm, trailing(algorithm, trailers)?)),
            (None, None) => None,
        };
        let Some((algorithm, value)) = sent else {
            return Ok(());
        };
        let computed = digests.checksums.iter().find(|(a, _)| *a == algorithm);
        if computed.is_some_and(|(_, computed)| *computed == value) {
            return Ok(());
        }
        Err(s3_error!(
            BadDigest,
            "The {} you specified did not match the calculated checksum.",
            name(algorithm)
        ))
    }
}

fn decode_md5(text: &str) -> S3Result<Vec<u8>> {
    match BASE64.decode(text) {
        Ok(md5) if md5.len() == 16 => Ok(md5),
        Ok(_) | Err(_) => Err(s3_error!(
            InvalidDigest,
            "The Content-MD5 you specified was invalid."
        )),
    }
}

/// The checksum `x-amz-trailer` announces.
fn announced(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let mut found = None;
    for names in headers.get_all("x-amz-trailer") {
        for trailer in names.to_str().unwrap_or_default().split(',').map(str::trim) {
            let known = ALGORITHMS
                .iter()
                .find(|(_, header, _)| header.eq_ignore_ascii_case(trailer));
            let Some((algorithm, ..)) = known else {
                return Err(s3_error!(
                    InvalidRequest,
                    "The value specified in the x-amz-trailer header is not supported"
                ));
            };
            if found.replace(*algorithm).is_some() {
                return Err(s3_error!(
                    InvalidRequest,
                    "Expecting a single x-amz-checksum- header"
                ));
            }
        }
    }
    Ok(found)
}

/// The announced trailer's value: missing or unreadable is not a mismatch but a malformed trailer.
fn trailing(algorithm: ChecksumAlgorithm, trailers: Option<&TrailingHeaders>) -> S3Result<Vec<u8>> {
    let header = ALGORITHMS
        .iter()
        .find(|(a, ..)| *a == algorithm)
        .map_or("", |(_, header, _)| header);
    let value = trailers
        .and_then(|t| {
            t.read(|map| {
                map.get(header)
                    .and_then(|v| v.to_str().ok())
                    .map(str::to_owned)
            })
        })
        .flatten();
    match value {
        Some(value) => decode(algorithm, header, value.trim()),
        None => Err(malformed_trailer()),
    }
}

/// Judges a document (an XML body, kept by the front) by what its request declares. `required`: AWS
/// insists on a digest for this operation.
pub(crate) fn check_document(
    state: &RequestState,
    headers: &HeaderMap,
    required: bool,
) -> S3Result<()> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let values = ALGORITHMS.map(|(_, name, _)| header(name));
    let md5 = header("content-md5");
    let declared = Declared::of(&values, md5.as_deref(), headers)?;
    if declared.md5.is_none() && declared.algorithm().is_none() {
        return if required {
            Err(s3_error!(
                InvalidRequest,
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
            ))
        } else {
            Ok(())
        };
    }
    let Some(document) = state.document() else {
        return Err(crate::error::incomplete());
    };
    declared.judge(&digests(&document, declared.algorithm()), None)
}

fn digests(document: &[Bytes], algorithm: Option<ChecksumAlgorithm>) -> BodyDigests {
    use s3s::crypto;
    let whole = document.concat();
    let checksums = algorithm.map(|algorithm| {
        let value = match algorithm {
            ChecksumAlgorithm::Crc32 => crypto::Crc32::checksum(&whole).to_vec(),
            ChecksumAlgorithm::Crc32c => crypto::Crc32c::checksum(&whole).to_vec(),
            ChecksumAlgorithm::Crc64Nvme => crypto::Crc64Nvme::checksum(&whole).to_vec(),
            ChecksumAlgorithm::Sha1 => crypto::Sha1::checksum(&whole).to_vec(),
            ChecksumAlgorithm::Sha256 => crypto::Sha256::checksum(&whole).to_vec(),
        };
        (algorithm, value)
    });
    BodyDigests {
        md5: crypto::Md5::checksum(&whole),
        checksums: checksums.into_iter().collect(),
        length: whole.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOX: &[u8] = b"The quick brown fox jumps over the lazy dog";

    fn none() -> Values {
        Default::default()
    }

    fn fox(algorithm: Option<ChecksumAlgorithm>) -> BodyDigests {
        digests(&[Bytes::from_static(FOX)], algorithm)
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().expect("value"));
        }
        map
    }

    #[test]
    fn each_algorithm_right_and_wrong() {
        for (index, (algorithm, header, name)) in ALGORITHMS.iter().enumerate() {
            let computed = fox(Some(*algorithm));
            let right = value_text(&computed.checksums[0].1);
            let mut values = none();
            values[index] = Some(right);
            let declared = Declared::of(&values, None, &HeaderMap::new()).expect(name);
            assert_eq!(declared.algorithm(), Some(*algorithm));
            assert!(declared.judge(&computed, None).is_ok(), "{header}");
            values[index] = Some(value_text(&vec![0; algorithm.bytes()]));
            let declared = Declared::of(&values, None, &HeaderMap::new()).expect(name);
            let error = declared.judge(&computed, None).expect_err(name);
            assert_eq!(error.code().as_str(), "BadDigest");
            values[index] = Some(value_text(&vec![0; algorithm.bytes() - 1]));
            let error = Declared::of(&values, None, &HeaderMap::new()).expect_err(name);
            assert_eq!(error.code().as_str(), "InvalidRequest");
        }
    }

    #[test]
    fn known_values() {
        let crc = fox(Some(ChecksumAlgorithm::Crc32)).checksums.remove(0).1;
        assert_eq!(crc, 0x414f_a339_u32.to_be_bytes());
        assert_eq!(fox(None).md5[..2], [0x9e, 0x10]);
    }

    #[test]
    fn declarations_that_contradict_themselves() {
        let crc = || Some("AAAAAA==".to_owned());
        let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
        for (values, list, code) in [
            ([crc(), crc(), None, None, None], vec![], "InvalidRequest"),
            (
                [crc(), None, None, None, None],
                vec![trailer],
                "InvalidRequest",
            ),
            (
                none(),
                vec![("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")],
                "InvalidRequest",
            ),
            (none(), vec![("x-amz-trailer", "x-foo")], "InvalidRequest"),
            (
                none(),
                vec![("x-amz-sdk-checksum-algorithm", "CRC32")],
                "InvalidRequest",
            ),
            (
                none(),
                vec![("x-amz-sdk-checksum-algorithm", "SHA1"), trailer],
                "InvalidRequest",
            ),
            (
                none(),
                vec![("x-amz-sdk-checksum-algorithm", "MD4"), trailer],
                "InvalidRequest",
            ),
            (
                none(),
                vec![("x-amz-checksum-sha512", "x")],
                "NotImplemented",
            ),
        ] {
            let error = Declared::of(&values, None, &headers(&list)).expect_err("refused");
            assert_eq!(error.code().as_str(), code, "{list:?}");
        }
        let good = [("x-amz-sdk-checksum-algorithm", "crc32"), trailer];
        assert!(Declared::of(&none(), None, &headers(&good)).is_ok());
    }

    #[test]
    fn an_announced_trailer_must_come() {
        let list = headers(&[("x-amz-trailer", "x-amz-checksum-crc32")]);
        let declared = Declared::of(&none(), None, &list).expect("declared");
        let error = declared
            .judge(&fox(Some(ChecksumAlgorithm::Crc32)), None)
            .expect_err("missing");
        assert_eq!(error.code().as_str(), "MalformedTrailerError");
    }

    #[test]
    fn md5_is_compared() {
        for (md5, code) in [
            ("nhB9nTcrtoJr2B01QqQZ1g==", None),
            ("rL0Y20xC+Fzt72VPzMSk2A==", Some("BadDigest")),
        ] {
            let declared = Declared::of(&none(), Some(md5), &HeaderMap::new()).expect("declared");
            let verdict = declared.judge(&fox(None), None);
            assert_eq!(
                verdict
                    .err()
                    .map(|e| e.code().as_str().to_owned())
                    .as_deref(),
                code
            );
        }
    }
}
