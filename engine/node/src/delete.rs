//! DELETE of one key.

use crate::EngineError;
use crate::api::Bucket;
use crate::engine::Engine;
use engine_core::meta::{Answer, Change, Condition, Delete};
use engine_types::{AccountId, ChargedTo, ObjectKey, VersionId};

impl Engine {
    /// Deletes: a marker, the object, or one version. [`Answer::Deleted`]'s fields.
    pub async fn delete(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: Condition,
        by: (AccountId, ChargedTo),
    ) -> Result<(Option<VersionId>, bool), EngineError> {
        let (owner, charged_to) = by;
        let delete = Delete {
            bucket: bucket.reference,
            key: key.clone(),
            version,
            condition,
            owner,
            charged_to,
        };
        let change = Change::Delete(Box::new(delete));
        match self
            .inner
            .propose(bucket.reference.partition, change)
            .await
            .answer()?
        {
            Answer::Deleted { version, marker } => Ok((version, marker)),
            _ => Err(EngineError::unexpected("Delete")),
        }
    }
}
