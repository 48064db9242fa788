//! Who may do what: deny by default.
//!
//! Runs for every operation s3s resolved, after the signature and before the body is read. It hands
//! on what it found: the [`Identity`] and the [`Bucket`] it judged, so that the handler acts on the
//! bucket that was judged and on no other.

use crate::auth::Auth;
use crate::error::from_engine;
use crate::identity::Identity;
use crate::request::RequestState;
use engine_core::meta::Refusal;
use engine_node::{Bucket, Engine, EngineError};
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};
use std::sync::Arc;

/// The access check. For now: a bucket's owner may do everything to it, every account may make and
/// list buckets of its own, nobody else anything.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    auth: Auth,
}

impl Access {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { auth: Auth { engine } }
    }

    /// Who signed. A request that came through `repair` carries its identity already.
    async fn identity(&self, cx: &mut S3AccessContext<'_>) -> S3Result<Identity> {
        if let Some(known) = cx.extensions_mut().get::<Identity>() {
            return Ok(known.clone());
        }
        match cx.credentials() {
            None => Ok(Identity::Anonymous),
            Some(credentials) => {
                let credential = self.auth.credential(&credentials.access_key).await?;
                Ok(Identity::Account(credential))
            }
        }
    }

    async fn bucket(&self, name: &str) -> S3Result<Option<Bucket>> {
        match self.auth.engine.bucket(name).await {
            Ok(bucket) => Ok(Some(bucket)),
            Err(EngineError::Refused(Refusal::NoSuchBucket)) => Ok(None),
            Err(error) => Err(from_engine(error)),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        let identity = self.identity(cx).await?;
        if let Some(state) = cx.extensions_mut().get::<Arc<RequestState>>() {
            state.set_operation(&operation);
            if let Some(account) = identity.account() {
                state.set_account(account.0);
            }
        }
        let name = match cx.s3_path() {
            S3Path::Root => None,
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => Some(bucket.to_string()),
        };
        cx.extensions_mut().insert(identity.clone());
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-access-check") {
            return Ok(());
        }
        let Some(account) = identity.account() else { return Err(s3_error!(AccessDenied)) };
        let (Some(name), false) = (name, operation == "CreateBucket") else { return Ok(()) };
        // A bucket that is not there is the handler's to say.
        let Some(bucket) = self.bucket(&name).await? else { return Ok(()) };
        if bucket.row.owner != account {
            return Err(s3_error!(AccessDenied));
        }
        cx.extensions_mut().insert(bucket);
        Ok(())
    }
}
