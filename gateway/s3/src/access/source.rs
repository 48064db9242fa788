//! The source of a copy: judged with the destination, by its own bucket's rules.

use super::judge::{Judge, ObjectFacts, denied, verdict};
use super::{Access, Asked, Stop};
use crate::acl::Permission;
use crate::error::from_engine;
use crate::gateway::{object_key, version_id};
use engine_node::{EngineError, Lookup};
use engine_core::meta::Refusal;
use gateway_policy::Decision;
use s3s::dto::CopySource;
use s3s::s3_error;
use std::sync::Arc;

/// May the caller read the source, and carry its tags along?
pub(super) async fn check(
    access: &Access,
    destination: &Judge,
    asked: &Asked<'_>,
    source: &str,
) -> Result<(), Stop> {
    // What is malformed is the handler's to say: it parses the same header in the same way.
    let Ok(CopySource::Bucket { bucket, key, version_id: version }) = CopySource::parse(source) else {
        return Ok(());
    };
    let found = access.engine().bucket(&bucket).await.map_err(from_engine)?;
    let who = (destination.identity.clone(), Arc::clone(&destination.circumstances));
    let mut judge = access.judge(found, &who)?;
    if judge.rules.owner_alone_decides() {
        let (here, there) = (judge.same_account(), destination.rules.owner_alone_decides());
        if !here {
            return Err(denied().into());
        }
        if there {
            return Ok(());
        }
    }
    let (parsed, wanted) = (object_key(&key)?, version_id(version.as_deref())?);
    let lookup = match access.engine().find(&judge.bucket, &parsed, wanted, false).await {
        Err(EngineError::Refused(Refusal::StaleBucket)) => {
            let fresh = access.engine().refresh_bucket(&bucket).await.map_err(from_engine)?;
            judge = access.judge(fresh, &who)?;
            // Stale again would be taken for the destination's: an honest 409 instead.
            access.engine().find(&judge.bucket, &parsed, wanted, false).await.map_err(from_engine)?
        }
        lookup => lookup.map_err(from_engine)?,
    };
    let versioned = version.is_some();
    let action = if versioned { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let Lookup::Found(found) = lookup else {
        let decision = judge.decide(action, Some(&key), gateway_policy::AclGrant::None, &[]);
        let forbidden = matches!(decision, Decision::ExplicitDeny(_));
        return if judge.may_list(&key) && !forbidden { Ok(()) } else { Err(denied().into()) };
    };
    let of = &found.found.row.attributes;
    let object = ObjectFacts { owner: of.owner, acl: &of.acl, tags: &of.tags };
    verdict(&judge.decide_object(action, &key, Some(Permission::Read), object))?;
    let replaces = asked.header("x-amz-tagging-directive") == Some("REPLACE");
    if asked.rule.operation != "CopyObject" || of.tags.is_empty() || replaces {
        return Ok(());
    }
    let action = if versioned { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    verdict(&judge.decide_object(action, &key, None, object))?;
    let to = asked.key.ok_or_else(|| s3_error!(InvalidRequest))?;
    let acl = destination.bucket_grant(Some(Permission::Write));
    verdict(&destination.decide("s3:PutObjectTagging", Some(to), acl, &[]))?;
    Ok(())
}
