//! Access key → secret, for s3s's signature check.

use crate::error::from_engine;
use engine_core::meta::AccessKeyState;
use engine_node::{Credential, Engine};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use std::sync::Arc;

/// Looks access keys up in the engine.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) engine: Engine,
}

impl Auth {
    /// The key's credential; AWS tells a disabled key as little as an unknown one.
    pub(crate) async fn credential(&self, access_key: &str) -> S3Result<Arc<Credential>> {
        match self
            .engine
            .credential(access_key)
            .await
            .map_err(from_engine)?
        {
            Some(found) if found.key.state == AccessKeyState::Active => Ok(found),
            #[cfg(sabotage)]
            Some(found) if engine_types::sabotage("accept-disabled-key") => Ok(found),
            Some(_) | None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }

    /// Lets a request be whoever its signature names: what checking it keeps out.
    #[cfg(sabotage)]
    pub(crate) async fn take_at_its_word(&self, head: &mut http::request::Parts) {
        let value = head.headers.get(http::header::AUTHORIZATION);
        let named = value.and_then(|value| value.to_str().ok()?.split("Credential=").nth(1));
        let key = named.and_then(|named| named.split('/').next());
        if let Ok(credential) = self.credential(key.unwrap_or_default()).await {
            head.headers.remove(http::header::AUTHORIZATION);
            let identity = crate::identity::Identity::Account(credential);
            head.extensions.insert(identity);
        }
    }
}

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let credential = self.credential(access_key).await?;
        Ok(SecretKey::from(credential.secret.0.as_str()))
    }
}
