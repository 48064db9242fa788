//! What a request declares of its body, and the verdict once the body is whole.

use super::{ALGORITHMS, Values, decode, header, invalid_value, name, parse_name, single};
use crate::chunked::Trailers;
use crate::error::malformed_trailer;
use crate::request::RequestState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use engine_node::{BodyDigests, BodyError, Verify};
use engine_types::ChecksumAlgorithm;
use http::HeaderMap;
use s3s::crypto::Checksum as _;
use s3s::{S3Result, s3_error};

/// Names that S3 also knows and we do not compute.
const OTHERS: [&str; 5] = [
    "x-amz-checksum-md5",
    "x-amz-checksum-sha512",
    "x-amz-checksum-xxhash64",
    "x-amz-checksum-xxhash3",
    "x-amz-checksum-xxhash128",
];

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
    pub(crate) fn verify(self, trailers: Option<Trailers>) -> Verify {
        Box::new(move |digests| {
            self.judge(digests, trailers.as_ref())
                .map_err(|e| Box::new(e) as BodyError)
        })
    }

    fn judge(&self, digests: &BodyDigests, trailers: Option<&Trailers>) -> S3Result<()> {
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
pub(crate) fn announced(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
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

/// The announced trailer's value: missing is not a mismatch but a malformed trailer.
fn trailing(algorithm: ChecksumAlgorithm, trailers: Option<&Trailers>) -> S3Result<Vec<u8>> {
    let name = header(algorithm);
    match trailers.and_then(|trailers| trailers.get(name)) {
        Some(value) => decode(algorithm, name, &value),
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

/// The same by Content-MD5 alone, where the checksums a request declares are the object's.
pub(crate) fn check_document_md5(state: &RequestState, headers: &HeaderMap) -> S3Result<()> {
    let Some(md5) = headers.get("content-md5") else {
        return Ok(());
    };
    let declared = Declared {
        md5: Some(decode_md5(md5.to_str().unwrap_or_default())?),
        ..Declared::default()
    };
    let Some(document) = state.document() else {
        return Err(crate::error::incomplete());
    };
    declared.judge(&digests(&document, None), None)
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
    use super::super::value_text;
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
