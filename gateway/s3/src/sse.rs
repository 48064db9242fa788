//! Server-side encryption as requests ask for it and answers repeat it. Everything is encrypted
//! whatever is asked; the headers choose whose key wraps.

use crate::error::{custom, from_engine};
use crate::gateway::{Gateway, RequestContext};
use crate::seams::default_encryption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use engine_core::meta::Encryption;
use engine_node::{Bucket, CustomerKey, Engine};
use http::StatusCode;
use s3s::crypto::Checksum as _;
use s3s::{S3Error, S3Result, s3_error};
use zeroize::Zeroizing;

/// The key `aws:kms` names where the request names none, as AWS's own default key.
pub(crate) const KMS_DEFAULT_KEY: &str = "aws/s3";

/// A customer key as three headers bring it.
#[derive(Clone, Default)]
pub(crate) struct CustomerAsked {
    pub(crate) algorithm: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) md5: Option<String>,
}

/// What a write asks for.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    pub(crate) algorithm: Option<String>,
    pub(crate) kms_key: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) bucket_key: Option<bool>,
    pub(crate) customer: CustomerAsked,
}

/// Takes a [`CustomerAsked`] from a DTO of s3s.
macro_rules! customer_asked {
    ($input:expr) => {
        $crate::sse::CustomerAsked {
            algorithm: $input.sse_customer_algorithm.clone(),
            key: $input.sse_customer_key.clone(),
            md5: $input.sse_customer_key_md5.clone(),
        }
    };
}
pub(crate) use customer_asked;

/// The same for a copy's source.
macro_rules! source_customer_asked {
    ($input:expr) => {
        $crate::sse::CustomerAsked {
            algorithm: $input.copy_source_sse_customer_algorithm.clone(),
            key: $input.copy_source_sse_customer_key.clone(),
            md5: $input.copy_source_sse_customer_key_md5.clone(),
        }
    };
}
pub(crate) use source_customer_asked;

/// Takes an [`Asked`] from a DTO of s3s.
macro_rules! sse_asked {
    ($input:expr) => {
        $crate::sse::Asked {
            algorithm: $input
                .server_side_encryption
                .as_ref()
                .map(|a| a.as_str().to_owned()),
            kms_key: $input.ssekms_key_id.clone(),
            context: $input.ssekms_encryption_context.clone(),
            bucket_key: $input.bucket_key_enabled,
            customer: $crate::sse::customer_asked!($input),
        }
    };
}
pub(crate) use sse_asked;

/// Writes what answers repeat of an encryption into a DTO of s3s.
macro_rules! set_sse {
    ($output:expr, $encryption:expr) => {{
        use engine_core::meta::Encryption;
        use s3s::dto::ServerSideEncryption as Sse;
        match $encryption {
            Encryption::Tenant => {}
            Encryption::S3 => $output.server_side_encryption = Some(Sse::from_static(Sse::AES256)),
            Encryption::Kms {
                key_id, bucket_key, ..
            } => {
                $output.server_side_encryption = Some(Sse::from_static(Sse::AWS_KMS));
                $output.ssekms_key_id = Some(key_id.clone());
                $output.bucket_key_enabled = bucket_key.then_some(true);
            }
            Encryption::Customer { key_md5, .. } => {
                $output.sse_customer_algorithm = Some("AES256".into());
                $output.sse_customer_key_md5 = Some(key_md5.clone());
            }
        }
    }};
}
pub(crate) use set_sse;

/// The encryption context, which the answers of writes repeat and those of reads do not.
pub(crate) fn context(encryption: &Encryption) -> Option<String> {
    match encryption {
        Encryption::Kms { context, .. } => context.clone(),
        Encryption::Tenant | Encryption::S3 | Encryption::Customer { .. } => None,
    }
}

fn invalid(message: &'static str) -> S3Error {
    s3_error!(InvalidArgument, "{message}")
}

impl CustomerAsked {
    fn any(&self) -> bool {
        self.algorithm.is_some() || self.key.is_some() || self.md5.is_some()
    }

    /// The key and its digest, checked. `secure`: the connection may carry one.
    pub(crate) fn parse(&self, secure: bool) -> S3Result<Option<(CustomerKey, String)>> {
        if !self.any() {
            return Ok(None);
        }
        if !secure {
            return Err(s3_error!(
                InvalidRequest,
                "Requests specifying Server Side Encryption with Customer provided keys must be made \
                 over a secure connection."
            ));
        }
        let Some(algorithm) = &self.algorithm else {
            return Err(invalid(
                "Requests specifying Server Side Encryption with Customer provided keys must provide \
                 a valid encryption algorithm.",
            ));
        };
        if algorithm != "AES256" {
            return Err(custom(
                "InvalidEncryptionAlgorithmError",
                StatusCode::BAD_REQUEST,
                "The encryption request you specified is not valid. The valid value is AES256.",
            ));
        }
        let Some(key) = &self.key else {
            return Err(invalid(
                "Requests specifying Server Side Encryption with Customer provided keys must provide \
                 an appropriate secret key.",
            ));
        };
        let Some(md5) = &self.md5 else {
            return Err(invalid(
                "Requests specifying Server Side Encryption with Customer provided keys must provide \
                 the client calculated MD5 of the secret key.",
            ));
        };
        let bytes = Zeroizing::new(BASE64.decode(key).unwrap_or_default());
        let Ok(array) = <[u8; 32]>::try_from(bytes.as_slice()) else {
            return Err(invalid(
                "The secret key was invalid for the specified algorithm.",
            ));
        };
        let array = Zeroizing::new(array);
        if BASE64.encode(s3s::crypto::Md5::checksum(&array[..])) != *md5 {
            return Err(invalid(
                "The calculated MD5 hash of the key did not match the hash that was provided.",
            ));
        }
        Ok(Some((CustomerKey(array), md5.clone())))
    }
}

/// What a write will do: for the attributes, and for the body.
#[derive(Clone, Debug)]
pub(crate) struct ForWrite {
    pub(crate) encryption: Encryption,
    pub(crate) customer_key: Option<CustomerKey>,
}

impl Gateway {
    /// Whether this request's connection may carry a customer key.
    pub(crate) fn carries_keys(&self, cx: &RequestContext) -> bool {
        cx.state.secure || self.options.sse_c_over_http
    }

    /// A write's encryption: as asked, else as the bucket says.
    pub(crate) async fn sse_for_write(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        asked: &Asked,
    ) -> S3Result<ForWrite> {
        let customer = asked.customer.parse(self.carries_keys(cx))?;
        if let Some((key, key_md5)) = customer {
            if asked.algorithm.is_some() || asked.kms_key.is_some() {
                return Err(invalid(
                    "Server Side Encryption with Customer provided key is incompatible with the \
                     encryption method specified",
                ));
            }
            // Salt and HMAC are the engine's to fill.
            let encryption = Encryption::Customer {
                salt: [0; 16],
                hmac: [0; 32],
                key_md5,
            };
            return Ok(ForWrite {
                encryption,
                customer_key: Some(key),
            });
        }
        let mut asked = asked.clone();
        let silent = asked.algorithm.is_none() && asked.kms_key.is_none();
        if silent && let Some(default) = default_encryption(bucket)? {
            asked.algorithm = Some(default.algorithm);
            asked.kms_key = default.kms_key;
            asked.bucket_key = asked.bucket_key.or(Some(default.bucket_key));
        }
        let encryption = self.managed_encryption(&asked).await?;
        Ok(ForWrite {
            encryption,
            customer_key: None,
        })
    }

    async fn managed_encryption(&self, asked: &Asked) -> S3Result<Encryption> {
        match asked.algorithm.as_deref() {
            None | Some("AES256") if asked.kms_key.is_some() || asked.context.is_some() => {
                Err(invalid(
                    "Server Side Encryption with AWS KMS managed key requires HTTP header \
                 x-amz-server-side-encryption : aws:kms",
                ))
            }
            None => Ok(Encryption::Tenant),
            Some("AES256") => Ok(Encryption::S3),
            Some("aws:kms") => self.kms(asked).await,
            Some("aws:kms:dsse" | "aws:fsx" | "aws:backup") => Err(s3_error!(
                NotImplemented,
                "Only AES256 and aws:kms are built"
            )),
            Some(_) => Err(invalid("The encryption method specified is not supported")),
        }
    }

    async fn kms(&self, asked: &Asked) -> S3Result<Encryption> {
        if let Some(context) = &asked.context {
            let json = BASE64.decode(context).ok();
            let object = json.and_then(|j| {
                serde_json::from_slice::<std::collections::BTreeMap<String, String>>(&j).ok()
            });
            if object.is_none() {
                return Err(invalid(
                    "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map",
                ));
            }
        }
        let key_id = asked
            .kms_key
            .clone()
            .unwrap_or_else(|| KMS_DEFAULT_KEY.to_owned());
        if self
            .engine
            .kms_key(&key_id)
            .await
            .map_err(from_engine)?
            .is_none()
        {
            if asked.kms_key.is_some() {
                let unknown = engine_node::EngineError::KeyUnavailable(key_id);
                return Err(from_engine(unknown));
            }
            self.engine
                .create_kms_key(&key_id)
                .await
                .map_err(from_engine)?;
        }
        let bucket_key = asked.bucket_key.unwrap_or(false);
        Ok(Encryption::Kms {
            key_id,
            context: asked.context.clone(),
            bucket_key,
        })
    }

    /// The customer key a read needs, checked against what the object was written with.
    pub(crate) fn sse_for_read(
        &self,
        cx: &RequestContext,
        encryption: &Encryption,
        asked: &CustomerAsked,
    ) -> S3Result<Option<CustomerKey>> {
        let key = asked.parse(self.carries_keys(cx))?.map(|(key, _md5)| key);
        match (encryption, key) {
            (Encryption::Customer { .. }, None) => {
                Err(from_engine(engine_node::EngineError::CustomerKey))
            }
            (Encryption::Customer { .. }, Some(key)) => {
                if Engine::customer_key_fits(encryption, Some(&key)) {
                    Ok(Some(key))
                } else {
                    Err(s3_error!(
                        InvalidRequest,
                        "The provided encryption parameters did not match the ones used originally."
                    ))
                }
            }
            (_, None) => Ok(None),
            (_, Some(_)) => Err(s3_error!(
                InvalidRequest,
                "The encryption parameters are not applicable to this object."
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn asked(algorithm: Option<&str>, key: Option<&str>, md5: Option<&str>) -> CustomerAsked {
        let own = |text: Option<&str>| text.map(str::to_owned);
        CustomerAsked {
            algorithm: own(algorithm),
            key: own(key),
            md5: own(md5),
        }
    }

    #[test]
    fn customer_keys_are_checked() {
        assert!(
            asked(None, None, None)
                .parse(false)
                .expect("none")
                .is_none()
        );
        assert!(
            asked(Some("AES256"), Some(KEY), Some(MD5))
                .parse(true)
                .expect("key")
                .is_some()
        );
        for (case, secure, code) in [
            (
                asked(Some("AES256"), Some(KEY), Some(MD5)),
                false,
                "InvalidRequest",
            ),
            (
                asked(Some("AES128"), Some(KEY), Some(MD5)),
                true,
                "InvalidEncryptionAlgorithmError",
            ),
            (asked(None, Some(KEY), Some(MD5)), true, "InvalidArgument"),
            (
                asked(Some("AES256"), None, Some(MD5)),
                true,
                "InvalidArgument",
            ),
            (
                asked(Some("AES256"), Some(KEY), None),
                true,
                "InvalidArgument",
            ),
            (
                asked(Some("AES256"), Some(MD5), Some(MD5)),
                true,
                "InvalidArgument",
            ),
            (
                asked(Some("AES256"), Some(KEY), Some("rL0Y20xC+Fzt72VPzMSk2A==")),
                true,
                "InvalidArgument",
            ),
        ] {
            let error = case.parse(secure).expect_err("refused");
            assert_eq!(error.code().as_str(), code);
            assert_eq!(error.status_code().map(|s| s.as_u16()), Some(400));
        }
    }
}
