//! The source of a copy: judged with the destination, by its own bucket's rules.

use super::circumstances::Pairs;
use super::judge::{Judge, ObjectFacts, denied, verdict};
use super::{Access, Asked, REJUDGED_MAX, Stop, keeps_changing};
use crate::acl::Permission;
use crate::error::from_engine;
use crate::gateway::{object_key, version_id};
use crate::identity::Identity;
use engine_core::meta::Refusal;
use engine_node::{EngineError, Lookup};
use engine_types::{ObjectKey, VersionId};
use gateway_policy::{AclGrant, Decision};
use http::HeaderMap;
use s3s::dto::CopySource;
use s3s::{S3Result, s3_error};
use std::sync::Arc;

/// Bucket, key, version.
type Named = (Box<str>, Box<str>, Option<Box<str>>);

/// The one source a request names. Nothing passes that this cannot read: the handler might.
pub(super) fn named(headers: &HeaderMap) -> S3Result<Named> {
    let malformed = || s3_error!(InvalidArgument, "Invalid copy source object key");
    let mut values = headers.get_all("x-amz-copy-source").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(malformed());
    };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_not_text| malformed())?;
    match CopySource::parse(text) {
        Ok(CopySource::Bucket {
            bucket,
            key,
            version_id,
        }) => Ok((bucket, key, version_id)),
        Ok(_) => Err(s3_error!(NotImplemented, "Access points are not built")),
        Err(_malformed) => Err(malformed()),
    }
}

/// Looks the source up and judges it; what the handler finds then is judged again by [`permits`].
pub(super) async fn check(access: &Access, destination: &Judge, asked: &Asked) -> Result<(), Stop> {
    let (bucket, key, version) = named(&asked.headers)?;
    let found = access.engine().bucket(&bucket).await.map_err(from_engine)?;
    let who = (
        destination.identity.clone(),
        Arc::clone(&destination.circumstances),
    );
    let mut judge = access.judge(found, &who)?;
    if let Some(early) = without_look(&judge, destination) {
        return Ok(early?);
    }
    let wanted = (object_key(&key)?, version_id(version.as_deref())?);
    let lookup = look(access, &mut judge, &who, wanted).await?;
    Ok(permits(&judge, destination, asked, &lookup)?)
}

/// The verdict where the source can change nothing: nobody but the owners' account decides anything.
fn without_look(judge: &Judge, destination: &Judge) -> Option<S3Result<()>> {
    if !judge.rules.owner_alone_decides() {
        return None;
    }
    if !judge.same_account() {
        return Some(Err(denied()));
    }
    (destination.rules.owner_alone_decides()).then_some(Ok(()))
}

/// May the caller read what was found of the source, and carry its tags along?
pub(super) fn permits(
    judge: &Judge,
    destination: &Judge,
    asked: &Asked,
    lookup: &Lookup,
) -> S3Result<()> {
    if let Some(verdict) = without_look(judge, destination) {
        return verdict;
    }
    let (_bucket, key, version) = named(&asked.headers)?;
    let (read, read_tags) = if version.is_some() {
        ("s3:GetObjectVersion", "s3:GetObjectVersionTagging")
    } else {
        ("s3:GetObject", "s3:GetObjectTagging")
    };
    let Lookup::Found(found) = lookup else {
        let decision = judge.decide(read, Some(&key), AclGrant::None, &[]);
        let forbidden = matches!(decision, Decision::ExplicitDeny(_));
        return if judge.may_list(&key) && !forbidden {
            Ok(())
        } else {
            Err(denied())
        };
    };
    let object = ObjectFacts::of(&found.found.row.attributes);
    verdict(&judge.decide_object(read, &key, Some(Permission::Read), object))?;
    let replaces = asked.header("x-amz-tagging-directive") == Some("REPLACE");
    if asked.rule.operation == "CopyObject" && !object.tags.is_empty() && !replaces {
        verdict(&judge.decide_object(read_tags, &key, None, object))?;
        let acl = destination.bucket_grant(Some(Permission::Write));
        let action = "s3:PutObjectTagging";
        verdict(&destination.decide(action, asked.key.as_deref(), acl, &[]))?;
    }
    Ok(())
}

/// Looks the source up; again, judged anew, where its bucket's configuration has moved.
async fn look(
    access: &Access,
    judge: &mut Judge,
    who: &(Identity, Arc<Pairs>),
    (key, version): (ObjectKey, Option<VersionId>),
) -> S3Result<Lookup> {
    let engine = access.engine();
    for _ in 0..REJUDGED_MAX {
        match engine.find(&judge.bucket, &key, version, false).await {
            Err(EngineError::Refused(Refusal::StaleBucket)) => {
                let name = judge.bucket.row.name.as_str();
                let fresh = engine.refresh_bucket(name).await.map_err(from_engine)?;
                *judge = access.judge(fresh, who)?;
            }
            lookup => return lookup.map_err(from_engine),
        }
    }
    // Stale would be taken for the destination's.
    Err(keeps_changing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_passes_unread() {
        for (values, code) in [
            (vec!["/buc/k"], "ok"),
            (vec!["buc/k%20x?versionId=null"], "ok"),
            (vec![], "InvalidArgument"),
            (vec!["buc/k", "cuc/k"], "InvalidArgument"),
            (vec!["nothing"], "InvalidArgument"),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append("x-amz-copy-source", value.parse().expect("value"));
            }
            let got =
                named(&headers).map_or_else(|e| e.code().as_str().to_owned(), |_| "ok".into());
            assert_eq!(got, code, "{values:?}");
        }
    }
}
