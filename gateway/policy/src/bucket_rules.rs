//! What a bucket policy must say beyond being a policy.

use crate::actions::{self, Applies};
use crate::arn::ArnPattern;
use crate::document::{ActionRule, Mismatch, ResourceRule};
use crate::error::{At, PolicyError};
use crate::pattern::Template;

/// Each resource must be able to name the bucket or an object in it.
pub(crate) fn check_resource(
    resource: &ArnPattern,
    bucket: &str,
    at: &At,
) -> Result<(), PolicyError> {
    if resource.covers_bucket(bucket) || resource.covers_objects(bucket) {
        Ok(())
    } else {
        Err(at.malformed("Policy has invalid resource"))
    }
}

/// Each action must be one of S3's.
pub(crate) fn check_action(action: &Template, at: &At) -> Result<(), PolicyError> {
    if actions::covered(action).is_empty() {
        Err(at.malformed("Policy has invalid action"))
    } else {
        Ok(())
    }
}

/// Each action must apply to at least one of the resources; not each resource needs an action, so
/// that `ListBucket` and `GetObject` may share a statement over the bucket and its objects.
/// `NotAction` and `NotResource` leave nothing to check.
pub(crate) fn check_pairs(
    actions: &ActionRule,
    resources: &ResourceRule,
    (bucket, mismatch): (&str, Mismatch),
    at: &At,
) -> Result<(), PolicyError> {
    let (ActionRule::Only(actions), ResourceRule::Only(resources)) = (actions, resources) else {
        return Ok(());
    };
    if mismatch == Mismatch::Accept {
        return Ok(());
    }
    let on_bucket = resources
        .iter()
        .any(|resource| resource.covers_bucket(bucket));
    let on_objects = resources
        .iter()
        .any(|resource| resource.covers_objects(bucket));
    for action in actions {
        let applies = actions::covered(action).iter().any(|kind| match kind {
            Applies::Bucket => on_bucket,
            Applies::Object => on_objects,
            Applies::Account => false,
        });
        if !applies {
            return Err(at.malformed("Action does not apply to any resource(s) in statement"));
        }
    }
    Ok(())
}
