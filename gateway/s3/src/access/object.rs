//! Judgements that need a look at what is there: objects and uploads.

use super::circumstances::request_tags;
use super::judge::{Judge, ObjectFacts, denied, verdict};
use super::{Asked, Stop};
use crate::acl::Permission;
use crate::error::from_engine;
use crate::gateway::{object_key, version_id};
use engine_core::meta::{Refusal, VersionAttributes};
use engine_node::{Engine, EngineError, Lookup};
use engine_types::ObjectKey;
use gateway_policy::{AclGrant, Decision};
use s3s::S3Result;
use s3s::dto::PutObjectTaggingInput;

/// An operation on an object that must be there.
pub(super) async fn check(engine: &Engine, judge: &Judge, asked: &Asked<'_>) -> Result<(), Stop> {
    let key = asked.key.ok_or_else(denied)?;
    let parsed = object_key(key)?;
    let lists = judge.may_list(key);
    if let Some(early) = without_look(judge, asked, key, lists) {
        return early;
    }
    let version = version_id(asked.version.as_deref())?;
    match engine.find(&judge.bucket, &parsed, version, false).await? {
        Lookup::Found(found) => {
            let attributes = &found.found.row.attributes;
            permit(judge, asked, key, attributes)
        }
        Lookup::Marker(..) | Lookup::Missing(_) => missing(judge, asked, key, lists),
    }
}

/// The verdict where the object can change nothing: lists are off, the policy does not ask for its
/// tags, and who may not read it may not learn either whether it is there.
fn without_look(
    judge: &Judge,
    asked: &Asked<'_>,
    key: &str,
    lists: bool,
) -> Option<Result<(), Stop>> {
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
        (false, false) => Some(Err(denied().into())),
        (true, false) | (false, true) => None,
    }
}

fn permit(judge: &Judge, asked: &Asked<'_>, key: &str, of: &VersionAttributes) -> Result<(), Stop> {
    let object = ObjectFacts {
        owner: of.owner,
        acl: &of.acl,
        tags: &of.tags,
    };
    for action in asked.actions() {
        verdict(&judge.decide_object(action, key, asked.rule.acl, object))?;
    }
    Ok(())
}

/// Nothing there: the handler's 404 for those who may list, 403 for all others.
fn missing(judge: &Judge, asked: &Asked<'_>, key: &str, lists: bool) -> Result<(), Stop> {
    let forbidden = asked.actions().iter().any(|action| {
        let decision = judge.decide(action, Some(key), AclGrant::None, &[]);
        matches!(decision, Decision::ExplicitDeny(_))
    });
    if lists && !forbidden {
        Ok(())
    } else {
        Err(denied().into())
    }
}

/// Abort and ListParts: who began the upload may, unless forbidden, whatever the policy grants.
pub(super) async fn check_upload(
    engine: &Engine,
    judge: &Judge,
    asked: &Asked<'_>,
) -> Result<(), Stop> {
    let key = asked.key.ok_or_else(denied)?;
    for action in asked.actions() {
        match judge.decide(action, Some(key), AclGrant::None, &[]) {
            Decision::Allow(_) => {}
            Decision::ExplicitDeny(_) => return Err(denied().into()),
            Decision::ImplicitDeny(_) => initiated(engine, judge, asked, key).await?,
        }
    }
    Ok(())
}

async fn initiated(
    engine: &Engine,
    judge: &Judge,
    asked: &Asked<'_>,
    key: &str,
) -> Result<(), Stop> {
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

/// PutObjectTagging again, with the tags of the body, where the policy asks for them.
pub(super) async fn check_put_tags(
    engine: &Engine,
    judge: &Judge,
    input: &PutObjectTaggingInput,
) -> S3Result<()> {
    if !judge
        .rules
        .compiled()
        .is_some_and(|policy| policy.asks_request_tags)
    {
        return Ok(());
    }
    let tags = input.tagging.tag_set.iter();
    let tags = tags.map(|t| {
        (
            t.key.clone().unwrap_or_default(),
            t.value.clone().unwrap_or_default(),
        )
    });
    let circumstances = judge
        .circumstances
        .iter()
        .cloned()
        .chain(request_tags(tags))
        .collect();
    let again = Judge {
        circumstances: std::sync::Arc::new(circumstances),
        ..judge.clone()
    };
    let version = version_id(input.version_id.as_deref())?;
    let action = if version.is_some() {
        "s3:PutObjectVersionTagging"
    } else {
        "s3:PutObjectTagging"
    };
    let found = engine
        .find(&again.bucket, &object_key(&input.key)?, version, false)
        .await;
    match found.map_err(from_engine)? {
        Lookup::Found(found) => {
            let of = &found.found.row.attributes;
            let object = ObjectFacts {
                owner: of.owner,
                acl: &of.acl,
                tags: &of.tags,
            };
            verdict(&again.decide_object(action, &input.key, None, object))
        }
        // The handler says what is missing; `check` has judged who may know.
        Lookup::Marker(..) | Lookup::Missing(_) => Ok(()),
    }
}
