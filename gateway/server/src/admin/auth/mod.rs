//! `SigV4` as the admin listener takes it: service `datamesh`, headers only, the payload's hash always.
//!
//! Stricter than S3 where that costs an honest client nothing: every `x-amz-` header is signed, the
//! payload is never unsigned, paths have nothing to encode, and no raw `+` stands in a query (it means
//! one thing to the signature and another to a form decoder). The body is read only after the
//! signature over its hash has held, so that strangers cannot fill memory.

use http::HeaderMap;
use http::request::Parts;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use ring::{digest, hmac};

/// What the credential scope names.
pub(crate) const SERVICE: &str = "datamesh";
/// A request's date may differ from our clock by so much.
pub(super) const SKEW_S_MAX: i64 = 15 * 60;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const PAYLOAD: &str = "x-amz-content-sha256";
/// Headers that must be signed where else nothing binds the request to this server and moment.
const SIGNED_ALWAYS: [&str; 3] = ["host", DATE, PAYLOAD];

/// Why a request is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum AuthError {
    /// No Authorization header.
    #[error("sign the request with SigV4: service {SERVICE}, a key of the root account")]
    Missing,
    /// What of it cannot be read.
    #[error("malformed signature: {0}")]
    Malformed(&'static str),
    /// Signed for another service, region or day.
    #[error("signed for {found}; sign for {expected}")]
    Scope {
        /// As signed.
        found: String,
        /// As needed.
        expected: String,
    },
    /// Too old or too new.
    #[error("the request's date is {seconds} s off this server's clock; {SKEW_S_MAX} are allowed")]
    Skewed {
        /// By how much.
        seconds: i64,
    },
    /// Unknown, or disabled.
    #[error("no such access key, or it is disabled")]
    UnknownKey,
    /// The signature is another.
    #[error("the signature does not match")]
    Signature,
    /// A good signature of somebody else.
    #[error("only keys of the root account may use the admin API")]
    NotRoot,
    /// The body is not the one that was signed.
    #[error("the body does not have the SHA-256 that was signed")]
    Payload,
}

/// What a request says of its signer; nothing of it is proven before [`Claim::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    /// Who says to have signed.
    pub(super) access_key: String,
    day: String,
    region: String,
    service: String,
    signed: Vec<String>,
    signature: [u8; 32],
    date: String,
    payload: [u8; 32],
}

impl Claim {
    /// Reads what the headers claim.
    pub(super) fn parse(head: &Parts) -> Result<Self, AuthError> {
        let given = header(&head.headers, "authorization")?.ok_or(AuthError::Missing)?;
        let fields = given
            .strip_prefix(ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '));
        let fields = fields.ok_or(AuthError::Malformed("algorithm: AWS4-HMAC-SHA256 only"))?;
        let [mut credential, mut signed, mut signature] = [None; 3];
        for field in fields.split(',') {
            let (name, value) = field
                .trim()
                .split_once('=')
                .ok_or(AuthError::Malformed("Authorization"))?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(AuthError::Malformed("unknown field")),
            };
            if place.replace(value).is_some() {
                return Err(AuthError::Malformed("a field twice"));
            }
        }
        let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature)
        else {
            return Err(AuthError::Malformed(
                "Credential, SignedHeaders and Signature are needed",
            ));
        };
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key, day, region, service, "aws4_request"] = scope[..] else {
            return Err(AuthError::Malformed(
                "Credential is KEY/DAY/REGION/SERVICE/aws4_request",
            ));
        };
        let date =
            header(&head.headers, DATE)?.ok_or(AuthError::Malformed("x-amz-date is needed"))?;
        let payload = header(&head.headers, PAYLOAD)?;
        let payload = payload.ok_or(AuthError::Malformed("x-amz-content-sha256 is needed"))?;
        let claim = Self {
            access_key: access_key.into(),
            day: day.into(),
            region: region.into(),
            service: service.into(),
            signed: signed.split(';').map(str::to_owned).collect(),
            signature: hash(signature).ok_or(AuthError::Malformed("Signature"))?,
            date: date.into(),
            payload: hash(payload).ok_or(AuthError::Malformed(
                "x-amz-content-sha256: a SHA-256 in hex",
            ))?,
        };
        claim.covers(&head.headers)?;
        Ok(claim)
    }

    fn covers(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        if !self.signed.is_sorted_by(|a, b| a < b) {
            return Err(AuthError::Malformed(
                "SignedHeaders are in order, each once",
            ));
        }
        let signed = |name: &str| self.signed.iter().any(|s| s == name);
        let amazon = headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-"));
        if SIGNED_ALWAYS.into_iter().chain(amazon).all(signed) {
            Ok(())
        } else {
            Err(AuthError::Malformed(
                "host and all x-amz- headers must be signed",
            ))
        }
    }

    /// Whether it was signed for us, and now. `now` in Unix seconds.
    pub(super) fn check(&self, region: &str, now: i64) -> Result<(), AuthError> {
        if (self.region.as_str(), self.service.as_str()) != (region, SERVICE) {
            return Err(AuthError::Scope {
                found: format!("{}/{}", self.region, self.service),
                expected: format!("{region}/{SERVICE}"),
            });
        }
        let malformed = AuthError::Malformed("x-amz-date is YYYYMMDDTHHMMSSZ");
        let basic = self.date.len() == 16
            && self
                .date
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z');
        let parsed = DateTime::strptime("%Y%m%dT%H%M%SZ", &self.date)
            .ok()
            .filter(|_| basic);
        let then = parsed
            .and_then(|date| Offset::UTC.to_timestamp(date).ok())
            .ok_or(malformed)?
            .as_second();
        if self.date.get(..8) != Some(self.day.as_str()) {
            return Err(AuthError::Scope {
                found: self.day.clone(),
                expected: "the day of x-amz-date".into(),
            });
        }
        let seconds = now.saturating_sub(then);
        #[cfg(sabotage)]
        if engine_types::sabotage("admin-any-date") {
            return Ok(());
        }
        if seconds.abs() > SKEW_S_MAX {
            Err(AuthError::Skewed { seconds })
        } else {
            Ok(())
        }
    }

    /// Whether whoever knows `secret` signed this head and this payload hash.
    pub(super) fn verify(&self, head: &Parts, secret: &str) -> Result<(), AuthError> {
        let mut canonical = format!("{}\n{}\n{}\n", head.method, path(head)?, query(head)?);
        for name in &self.signed {
            let values = head.headers.get_all(name).iter().map(|value| {
                let text = value
                    .to_str()
                    .map_err(|_e| AuthError::Malformed("a signed header is not text"))?;
                Ok(text
                    .split(' ')
                    .filter(|word| !word.is_empty())
                    .collect::<Vec<_>>()
                    .join(" "))
            });
            let values = values.collect::<Result<Vec<_>, _>>()?;
            canonical += &[name.as_str(), ":", &values.join(","), "\n"].concat();
        }
        canonical += &[
            "\n",
            &self.signed.join(";"),
            "\n",
            &hex::encode(self.payload),
        ]
        .concat();
        let scope = format!("{}/{}/{SERVICE}/aws4_request", self.day, self.region);
        let hashed = digest::digest(&digest::SHA256, canonical.as_bytes());
        let text = format!(
            "{ALGORITHM}\n{}\n{scope}\n{}",
            self.date,
            hex::encode(hashed)
        );
        #[cfg(sabotage)]
        if engine_types::sabotage("admin-any-signature") {
            return Ok(());
        }
        // ring compares in constant time.
        hmac::verify(&self.signing_key(secret), text.as_bytes(), &self.signature)
            .map_err(|_e| AuthError::Signature)
    }

    /// Whether this is the body whose hash was signed.
    pub(super) fn covers_body(&self, body: &[u8]) -> Result<(), AuthError> {
        let same = digest::digest(&digest::SHA256, body).as_ref() == self.payload;
        if same {
            Ok(())
        } else {
            Err(AuthError::Payload)
        }
    }

    fn signing_key(&self, secret: &str) -> hmac::Key {
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        [self.day.as_str(), &self.region, SERVICE, "aws4_request"]
            .into_iter()
            .fold(first, |key, part| {
                hmac::Key::new(
                    hmac::HMAC_SHA256,
                    hmac::sign(&key, part.as_bytes()).as_ref(),
                )
            })
    }
}

/// A header that may stand once.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_e| AuthError::Malformed("a header is not text")),
        (Some(_), Some(_)) => Err(AuthError::Malformed("a header twice")),
    }
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let lower = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The path as it stands: no route of ours has anything to encode, so encoding has no dispute.
fn path(head: &Parts) -> Result<&str, AuthError> {
    let path = head.uri.path();
    let plain = path.bytes().all(|b| unreserved(b) || b == b'/');
    if plain {
        Ok(path)
    } else {
        Err(AuthError::Malformed("the path has nothing to encode"))
    }
}

fn query(head: &Parts) -> Result<String, AuthError> {
    let given = head.uri.query().unwrap_or_default();
    let mut pairs = Vec::new();
    for pair in given.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((encoded(name)?, encoded(value)?));
    }
    pairs.sort();
    Ok(pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&"))
}

/// Percent-encoded as `SigV4` does, whatever way it was encoded before.
fn encoded(text: &str) -> Result<String, AuthError> {
    let malformed = || AuthError::Malformed("the query is not percent-encoded");
    let mut plain = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => return Err(malformed()),
            b'%' => {
                let pair = [
                    bytes.next().ok_or_else(malformed)?,
                    bytes.next().ok_or_else(malformed)?,
                ];
                let mut one = [0];
                hex::decode_to_slice(pair, &mut one).map_err(|_e| malformed())?;
                plain.push(one[0]);
            }
            other => plain.push(other),
        }
    }
    Ok(percent(&plain))
}

/// Percent-encodes all but unreserved bytes.
pub(crate) fn percent(plain: &[u8]) -> String {
    let encode = |byte: &u8| {
        if unreserved(*byte) {
            char::from(*byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    plain.iter().map(encode).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests;
