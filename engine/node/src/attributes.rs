//! Changes of what describes a version: tags, ACL, or all of it.

use crate::EngineError;
use crate::api::{Bucket, Found, RestsOn};
use crate::engine::Engine;
use crate::keys::context;
use engine_core::meta::{
    Answer, Change, Condition, Encryption, Judged, Refusal, VersionAttributes, VersionRow,
};
use engine_types::Checksum;
use serde_bytes::ByteBuf;

impl Engine {
    /// New attributes for the current version, same bytes, where the bucket's versioning allows it
    /// (`None`: it does not; copy the bytes). Also `None` where the bytes' wrapping would change:
    /// to or from a customer's or a named key. Refused with `Changed` when another version is
    /// current by now.
    pub async fn reattribute(
        &self,
        found: &Found,
        mut condition: Condition,
        attributes: VersionAttributes,
        checksum: Option<Checksum>,
    ) -> Result<Option<VersionRow>, EngineError> {
        let row = &found.found.row;
        if !same_wrapping(&row.attributes.encryption, &attributes.encryption) {
            return Ok(None);
        }
        condition.unchanged = Some(row.order);
        let change = Change::Reattribute {
            bucket: found.bucket.reference,
            key: found.key.clone(),
            condition,
            attributes: Box::new(attributes.clone()),
            checksum,
        };
        let partition = found.bucket.reference.partition;
        match self.inner.propose(partition, change).await.answer() {
            Ok(Answer::Version(mut made)) => {
                let charged_to = made.attributes.charged_to;
                made.attributes = VersionAttributes {
                    charged_to,
                    ..attributes
                };
                Ok(Some(*made))
            }
            Ok(_) => Err(EngineError::unexpected("Reattribute")),
            Err(EngineError::Refused(Refusal::NeedsCopy)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces all tags of the version found, if it is still what was judged.
    pub async fn set_tags(
        &self,
        found: &Found,
        rests_on: RestsOn,
        tags: Vec<(String, String)>,
    ) -> Result<VersionRow, EngineError> {
        let change = Change::SetTags {
            bucket: found.bucket.reference,
            key: found.key.clone(),
            judged: Box::new(judged(found, rests_on)),
            tags: tags.clone(),
        };
        let mut row = self.change_version(&found.bucket, change).await?;
        row.attributes.tags = tags;
        Ok(row)
    }

    /// Replaces the ACL of the version found, if it is still what was judged.
    pub async fn set_acl(
        &self,
        found: &Found,
        rests_on: RestsOn,
        acl: Vec<u8>,
    ) -> Result<VersionRow, EngineError> {
        let acl = ByteBuf::from(acl);
        let change = Change::SetAcl {
            bucket: found.bucket.reference,
            key: found.key.clone(),
            judged: Box::new(judged(found, rests_on)),
            acl: acl.clone(),
        };
        let mut row = self.change_version(&found.bucket, change).await?;
        row.attributes.acl = acl;
        Ok(row)
    }

    async fn change_version(
        &self,
        bucket: &Bucket,
        change: Change,
    ) -> Result<VersionRow, EngineError> {
        match self
            .inner
            .propose(bucket.reference.partition, change)
            .await
            .answer()?
        {
            Answer::Version(row) => Ok(*row),
            _ => Err(EngineError::unexpected("a change of a version")),
        }
    }
}

/// A version as it was looked at, for the commit to compare.
fn judged(found: &Found, rests_on: RestsOn) -> Judged {
    let row = &found.found.row;
    Judged {
        version: row.version,
        order: row.order,
        acl: rests_on.acl.then(|| row.attributes.acl.clone()),
        tags: rests_on.tags.then(|| row.attributes.tags.clone()),
    }
}

/// Whether data keys wrapped under `a` are what `b` asks for.
fn same_wrapping(a: &Encryption, b: &Encryption) -> bool {
    use Encryption::{Customer, Kms, S3, Tenant};
    match (a, b) {
        (Tenant | S3, Tenant | S3) => true,
        (Kms { key_id: of_a, .. }, Kms { key_id: of_b, .. }) => {
            of_a == of_b && context(a) == context(b)
        }
        (
            Customer { salt, hmac, .. },
            Customer {
                salt: s, hmac: h, ..
            },
        ) => (salt, hmac) == (s, h),
        _ => false,
    }
}
