//! Who may do what: deny by default.
//!
//! Runs for every operation s3s resolved, after the signature and before the body is read. `table`
//! says what an operation takes, `circumstances` what of the head policies may ask, [`Judge`]
//! combines bucket policy, lists, ownership and public access block (`gateway_policy::decide`). The
//! check hands on the [`Identity`], the version where one was looked at that the answer is made of
//! ([`Seen`]), and an [`Admission`]: the bucket it judged, so that the handler acts on the bucket that
//! was judged and on no other, and the means to judge what the handler finds itself.
//!
//! Most requests are of the bucket's own account in a bucket without lists and without policy: they
//! cost no look-up beyond the cached bucket.

mod admission;
mod circumstances;
mod headers;
mod judge;
mod object;
mod rule;
mod seen;
mod source;
mod table;

pub(crate) use admission::Admission;
pub(crate) use circumstances::{Signature, query};
pub(crate) use judge::{Judge, denied, verdict};
pub(crate) use seen::Seen;

use crate::auth::Auth;
use crate::documents::RulesCache;
use crate::error::from_engine;
use crate::identity::Identity;
use crate::request::RequestState;
use engine_core::meta::Refusal;
use engine_node::{Bucket, Engine, EngineError};
use headers::{GRANT, WRITERS, asked_by_header, of_access, refuse_overrides, refuse_token};
use http::HeaderMap;
use rule::{On, Rule};
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result, s3_error};
use std::sync::{Arc, OnceLock};

/// Times a request is judged anew because the bucket's configuration, or the object it is about, moved
/// under it.
pub(crate) const REJUDGED_MAX: usize = 8;

/// Reads all that a head says of access, for fuzzing; whether its copy source could be read.
pub(crate) fn parse_head(uri: &http::Uri, headers: &HeaderMap) -> bool {
    let _pairs = circumstances::of_head(uri, headers, None, &Signature::of(uri, headers));
    source::named(headers).is_ok()
}

/// The access check.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    auth: Auth,
    rules: Arc<RulesCache>,
}

/// Why a judgement did not end in "allowed".
#[derive(Debug)]
pub(crate) enum Stop {
    /// The answer.
    Refused(S3Error),
    /// The bucket's configuration moved: look it up and judge again.
    Stale,
}

impl From<S3Error> for Stop {
    fn from(error: S3Error) -> Self {
        Self::Refused(error)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(Refusal::StaleBucket) => Self::Stale,
            error => Self::Refused(from_engine(error)),
        }
    }
}

/// The answer where a request cannot be judged because things move too fast.
pub(crate) fn keeps_changing() -> S3Error {
    s3_error!(
        OperationAborted,
        "What this request is judged by keeps changing. Try again."
    )
}

/// What of a request the judgement needs.
#[derive(Debug)]
struct Asked {
    rule: &'static Rule,
    key: Option<String>,
    version: Option<String>,
    /// Those of [`of_access`].
    headers: HeaderMap,
    query: Vec<(String, String)>,
    /// The version judged, where the handler answers from it.
    seen: OnceLock<Seen>,
}

impl Asked {
    fn actions(&self) -> &'static [&'static str] {
        if self.version.is_some() {
            self.rule.versioned
        } else {
            self.rule.actions
        }
    }
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Access {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            auth: Auth { engine },
            rules: Arc::default(),
        }
    }

    fn engine(&self) -> &Engine {
        &self.auth.engine
    }

    /// Who signed. A request that came through `repair` or a form carries its identity already.
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

    fn judge(
        &self,
        bucket: Bucket,
        like: &(Identity, Arc<circumstances::Pairs>),
    ) -> S3Result<Judge> {
        let rules = self.rules.rules_of(&bucket)?;
        Ok(Judge {
            identity: like.0.clone(),
            bucket,
            rules,
            circumstances: Arc::clone(&like.1),
        })
    }

    /// Judges the request; the judge that allowed it.
    async fn admit(
        &self,
        name: &str,
        asked: &Asked,
        who: (Identity, Arc<circumstances::Pairs>),
    ) -> S3Result<Judge> {
        let mut bucket = self.engine().bucket(name).await.map_err(from_engine)?;
        for _ in 0..REJUDGED_MAX {
            let judge = self.judge(bucket, &who)?;
            match self.judged(&judge, asked).await {
                Ok(()) => return Ok(judge),
                Err(Stop::Refused(error)) => return Err(error),
                Err(Stop::Stale) => {
                    bucket = self
                        .engine()
                        .refresh_bucket(name)
                        .await
                        .map_err(from_engine)?;
                }
            }
        }
        Err(keeps_changing())
    }

    async fn judged(&self, judge: &Judge, asked: &Asked) -> Result<(), Stop> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-access-check") {
            return Ok(());
        }
        self.judged_target(judge, asked).await?;
        if ["CopyObject", "UploadPartCopy"].contains(&asked.rule.operation) {
            source::check(self, judge, asked).await?;
        }
        Ok(())
    }

    async fn judged_target(&self, judge: &Judge, asked: &Asked) -> Result<(), Stop> {
        if asked.rule.on == On::Nobody {
            return Err(denied().into());
        }
        // No list and no policy: nothing can forbid the owner's account anything, or let another in.
        if judge.rules.owner_alone_decides() {
            return if judge.same_account() {
                Ok(())
            } else {
                Err(denied().into())
            };
        }
        let rule = asked.rule;
        match rule.on {
            On::Account => Ok(()),
            On::Owner if judge.same_account() => Ok(()),
            On::Owner | On::Nobody => Err(denied().into()),
            On::Bucket => all(judge, asked, None),
            On::Key => {
                all(judge, asked, asked.key.as_deref())?;
                if WRITERS.contains(&rule.operation) {
                    let owner = self.bucket_owner(judge, asked).await?;
                    asked_by_header(judge, asked, owner.as_deref())
                } else {
                    Ok(())
                }
            }
            On::Object => object::check(self.engine(), judge, asked).await,
            On::Upload => object::check_upload(self.engine(), judge, asked).await,
            On::Keys => {
                // Each key is judged by the handler. Who could get nothing is told so at once.
                let group = judge.bucket_grant(rule.acl) != gateway_policy::AclGrant::None;
                let some = judge.identity.account().is_some() || judge.rules.compiled().is_some();
                if some || group {
                    Ok(())
                } else {
                    Err(denied().into())
                }
            }
        }
    }
}

impl Access {
    /// The canonical id of the bucket's owner, where the head grants and it may matter to whom.
    async fn bucket_owner(&self, judge: &Judge, asked: &Asked) -> Result<Option<String>, Stop> {
        let mut names = asked.headers.keys().map(http::HeaderName::as_str);
        if judge.same_account() || !names.any(|name| name.starts_with(GRANT)) {
            return Ok(None);
        }
        let owner = self.engine().account(judge.bucket.row.owner).await?;
        Ok(owner.map(|owner| owner.canonical_id))
    }
}

/// All actions of the rule, on the bucket or a key of it.
fn all(judge: &Judge, asked: &Asked, key: Option<&str>) -> Result<(), Stop> {
    // A version is deleted by policy or by the owner's account alone: its list speaks of writing.
    let acl = if asked.version.is_some() && key.is_some() {
        None
    } else {
        asked.rule.acl
    };
    for action in asked.actions() {
        verdict(&judge.decide(action, key, judge.bucket_grant(acl), &[]))?;
    }
    Ok(())
}

/// How the request was signed: as its head says, unless that was read and taken off before.
fn signature(cx: &mut S3AccessContext<'_>, identity: &Identity) -> Signature {
    if identity.account().is_none() {
        return Signature::none();
    }
    let known = cx.extensions_mut().get::<Signature>().cloned();
    known.unwrap_or_else(|| Signature::of(cx.uri(), cx.headers()))
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        let identity = self.identity(cx).await?;
        let state = cx.extensions_mut().get::<Arc<RequestState>>().cloned();
        if let Some(state) = &state {
            state.set_operation(&operation);
            if let Some(account) = identity.account() {
                state.set_account(account.0);
            }
        }
        let query = query(cx.uri());
        refuse_token(cx.headers(), &query)?;
        refuse_overrides(&identity, &query)?;
        let signature = signature(cx, &identity);
        let pairs = circumstances::of_head(cx.uri(), cx.headers(), state.as_deref(), &signature);
        cx.extensions_mut().insert(identity.clone());
        let rule = table::rule_of(&operation).ok_or_else(denied)?;
        let (name, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        let Some(name) = name.filter(|_| rule.on != On::Account) else {
            // Only what every account may do of itself has no bucket.
            let every = rule.on == On::Account && identity.account().is_some();
            return if every { Ok(()) } else { Err(denied()) };
        };
        let version = query
            .iter()
            .find(|(name, _)| name == "versionId")
            .map(|(_, id)| id.clone());
        let mut asked = Asked {
            rule,
            key,
            version,
            headers: of_access(cx.headers()),
            query,
            seen: OnceLock::new(),
        };
        let judge = self
            .admit(&name, &asked, (identity, Arc::new(pairs)))
            .await?;
        if let Some(seen) = asked.seen.take() {
            cx.extensions_mut().insert(seen);
        }
        let admission = Admission::new(self.clone(), asked, judge);
        cx.extensions_mut().insert(Arc::new(admission));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
