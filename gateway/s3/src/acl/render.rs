//! Lists into answers.

use super::{ALL_USERS, AUTHENTICATED_USERS, Acl, Grant, Grantee, LOG_DELIVERY};
use crate::error::from_engine;
use engine_node::Engine;
use engine_types::AccountId;
use s3s::S3Result;
use s3s::dto;

/// Canonical id and display name of an account; a deleted one shows its number.
pub(crate) async fn owner_dto(engine: &Engine, id: AccountId) -> S3Result<dto::Owner> {
    let account = engine.account(id).await.map_err(from_engine)?;
    Ok(match account {
        Some(account) => dto::Owner {
            id: Some(account.canonical_id),
            display_name: Some(account.name),
        },
        None => dto::Owner {
            id: Some(id.0.to_string()),
            display_name: None,
        },
    })
}

/// The grants as S3 writes them.
pub(crate) async fn grants_dto(engine: &Engine, acl: &Acl) -> S3Result<Vec<dto::Grant>> {
    let mut grants = Vec::with_capacity(acl.grants.len());
    for grant in in_order(acl) {
        let group = |uri: &str| dto::Grantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: dto::Type::from_static(dto::Type::GROUP),
            uri: Some(uri.to_owned()),
        };
        let grantee = match grant.grantee {
            Grantee::AllUsers => group(ALL_USERS),
            Grantee::AuthenticatedUsers => group(AUTHENTICATED_USERS),
            Grantee::LogDelivery => group(LOG_DELIVERY),
            Grantee::Account(id) => {
                let owner = owner_dto(engine, id).await?;
                dto::Grantee {
                    display_name: owner.display_name,
                    email_address: None,
                    id: owner.id,
                    type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
                    uri: None,
                }
            }
        };
        grants.push(dto::Grant {
            grantee: Some(grantee),
            permission: Some(dto::Permission::from(grant.permission.as_str().to_owned())),
        });
    }
    Ok(grants)
}

/// A list has no order of its own: groups stand first, as what is open to many is what a reader looks
/// for.
fn in_order(acl: &Acl) -> impl Iterator<Item = &Grant> {
    let is_account = |grant: &&Grant| matches!(grant.grantee, Grantee::Account(_));
    let (accounts, groups): (Vec<&Grant>, Vec<&Grant>) = acl.grants.iter().partition(is_account);
    groups.into_iter().chain(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::canned;

    #[test]
    fn groups_stand_first() {
        let owner = AccountId(1);
        let acl = canned("public-read-write", owner, owner).expect("known");
        let grantees: Vec<_> = in_order(&acl).map(|grant| &grant.grantee).collect();
        assert!(
            matches!(
                grantees[..],
                [Grantee::AllUsers, Grantee::AllUsers, Grantee::Account(_)]
            ),
            "{grantees:?}"
        );
    }
}
