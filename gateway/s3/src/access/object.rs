//! Judgements that need a look at what is there: objects and uploads.

use super::judge::{Judge, ObjectFacts, denied, verdict};
use super::rule::On;
use super::{Asked, Seen, Stop};
use crate::acl::Permission;
use crate::gateway::{object_key, version_id};
use engine_core::meta::Refusal;
use engine_node::{Engine, EngineError, Lookup};
use engine_types::ObjectKey;
use gateway_policy::{AclGrant, Decision};
use s3s::S3Result;

/// An operation on an object that must be there. A handler that does not answer from what was seen
/// here finds it anew, and asks [`permits`] of what it found.
pub(super) async fn check(engine: &Engine, judge: &Judge, asked: &Asked) -> Result<(), Stop> {
    let key = asked.key.as_deref().ok_or_else(denied)?;
    let parsed = object_key(key)?;
    if let Some(early) = without_look(judge, asked, key, judge.may_list(key)) {
        return Ok(early?);
    }
    let version = version_id(asked.version.as_deref())?;
    let answers = Seen::OPERATIONS.contains(&asked.rule.operation);
    let found = engine
        .find(&judge.bucket, &parsed, version, answers)
        .await?;
    permits(judge, asked, &found)?;
    if let Lookup::Found(found) = found
        && answers
    {
        asked.seen.get_or_init(|| Seen::new(version, found));
    }
    Ok(())
}

/// May the request have what was found, or hear that nothing is there?
pub(super) fn permits(judge: &Judge, asked: &Asked, lookup: &Lookup) -> S3Result<()> {
    if asked.rule.on != On::Object {
        return Err(denied());
    }
    if judge.rules.owner_alone_decides() {
        return judge.same_account().then_some(()).ok_or_else(denied);
    }
    let key = asked.key.as_deref().ok_or_else(denied)?;
    let lists = judge.may_list(key);
    if let Some(verdict) = without_look(judge, asked, key, lists) {
        return verdict;
    }
    match lookup {
        Lookup::Found(found) => {
            permits_found(judge, asked, ObjectFacts::of(&found.found.row.attributes))
        }
        Lookup::Marker(..) | Lookup::Missing(_) => missing(judge, asked, key, lists),
    }
}

/// All actions of the rule on an object.
pub(super) fn permits_found(judge: &Judge, asked: &Asked, object: ObjectFacts<'_>) -> S3Result<()> {
    let key = asked.key.as_deref().ok_or_else(denied)?;
    for action in asked.actions() {
        verdict(&judge.decide_object(action, key, asked.rule.acl, object))?;
    }
    Ok(())
}

/// The verdict where the object can change nothing: lists are off, the policy does not ask for its
/// tags, and who may not read it may not learn either whether it is there.
fn without_look(judge: &Judge, asked: &Asked, key: &str, lists: bool) -> Option<S3Result<()>> {
    let tags = judge
        .rules
        .compiled()
        .is_some_and(|policy| policy.asks_object_tags);
    if judge.rules.acls() || tags {
        return None;
    }
    let allowed = asked.actions().iter().all(|action| {
        judge
            .decide(action, Some(key), AclGrant::None, &[])
            .is_allow()
    });
    match (allowed, lists) {
        (true, true) => Some(Ok(())),
        (false, false) => Some(Err(denied())),
        (true, false) | (false, true) => None,
    }
}

/// Nothing there: the handler's 404 for those who may list, 403 for all others.
fn missing(judge: &Judge, asked: &Asked, key: &str, lists: bool) -> S3Result<()> {
    let forbidden = asked.actions().iter().any(|action| {
        let decision = judge.decide(action, Some(key), AclGrant::None, &[]);
        matches!(decision, Decision::ExplicitDeny(_))
    });
    if lists && !forbidden {
        Ok(())
    } else {
        Err(denied())
    }
}

/// Abort and ListParts: who began the upload may, unless forbidden, whatever the policy grants.
pub(super) async fn check_upload(
    engine: &Engine,
    judge: &Judge,
    asked: &Asked,
) -> Result<(), Stop> {
    let key = asked.key.as_deref().ok_or_else(denied)?;
    for action in asked.actions() {
        match judge.decide(action, Some(key), AclGrant::None, &[]) {
            Decision::Allow(_) => {}
            Decision::ExplicitDeny(_) => return Err(denied().into()),
            Decision::ImplicitDeny(_) => initiated(engine, judge, asked, key).await?,
        }
    }
    Ok(())
}

async fn initiated(engine: &Engine, judge: &Judge, asked: &Asked, key: &str) -> Result<(), Stop> {
    let caller = judge.identity.account().ok_or_else(denied)?;
    let id = asked.query.iter().find(|(name, _)| name == "uploadId");
    let id = id.and_then(|(_, id)| id.parse().ok()).ok_or_else(denied)?;
    let key = object_key(key)?;
    match engine.upload(&judge.bucket, &key, id).await {
        Ok(upload) if upload.initiator == caller => Ok(()),
        // One who may write here may know that there is no such upload.
        Err(EngineError::Refused(Refusal::NoSuchUpload)) if may_write(judge, &key) => Ok(()),
        Ok(_) | Err(EngineError::Refused(Refusal::NoSuchUpload)) => Err(denied().into()),
        Err(error) => Err(error.into()),
    }
}

fn may_write(judge: &Judge, key: &ObjectKey) -> bool {
    let acl = judge.bucket_grant(Some(Permission::Write));
    judge
        .decide("s3:PutObject", Some(key.as_str()), acl, &[])
        .is_allow()
}
