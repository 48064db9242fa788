//! XML bodies as clients send them: read by s3s, then taken apart as the operations do.

use crate::acl::Permission;
use crate::documents::Ownership;
use crate::multipart::all_chosen;
use crate::{cors_ops, encryption_ops, tagging, versioning};
use s3s::dto::{
    AccessControlPolicy, CORSConfiguration, CompletedMultipartUpload, CreateBucketConfiguration,
    Delete, OwnershipControls, PublicAccessBlockConfiguration, ServerSideEncryptionConfiguration,
    Tagging, VersioningConfiguration,
};
use s3s::xml::{Deserialize, Deserializer};

/// Kinds of [`body`].
pub const BODIES: u8 = 10;

fn read<T: for<'xml> Deserialize<'xml>>(xml: &[u8]) -> Option<T> {
    let mut deserializer = Deserializer::new(xml);
    let value = T::deserialize(&mut deserializer).ok()?;
    deserializer.expect_eof().ok()?;
    Some(value)
}

/// The body of an operation, `kind` picks which: whether the operation goes on with it.
pub fn body(kind: u8, xml: &[u8]) -> bool {
    match kind % BODIES {
        0 => read::<Delete>(xml).is_some_and(|asked| !asked.objects.is_empty()),
        1 => read::<CompletedMultipartUpload>(xml)
            .is_some_and(|asked| all_chosen(Some(&asked)).is_ok()),
        2 => read::<Tagging>(xml).is_some_and(|asked| {
            tagging::from_set(asked.tag_set, tagging::OBJECT_TAGS_MAX).is_ok()
        }),
        3 => read::<CORSConfiguration>(xml)
            .is_some_and(|asked| cors_ops::parse(asked.cors_rules).is_ok()),
        4 => read::<AccessControlPolicy>(xml).is_some_and(|asked| {
            let mut grants = asked.grants.unwrap_or_default().into_iter();
            grants.all(|grant| {
                let permission = grant.permission.as_ref();
                permission.is_some_and(|p| Permission::parse(p.as_str()).is_some())
            })
        }),
        5 => read::<VersioningConfiguration>(xml)
            .is_some_and(|asked| versioning::asked(&asked).is_ok()),
        6 => read::<CreateBucketConfiguration>(xml).is_some(),
        7 => read::<OwnershipControls>(xml).is_some_and(|asked| {
            let mut rules = asked.rules.iter();
            rules.all(|rule| Ownership::parse(rule.object_ownership.as_str()).is_some())
        }),
        8 => read::<PublicAccessBlockConfiguration>(xml).is_some(),
        _ => read::<ServerSideEncryptionConfiguration>(xml)
            .is_some_and(|asked| encryption_ops::parse(&asked).is_ok()),
    }
}
