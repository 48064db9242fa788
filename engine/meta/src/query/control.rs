//! Reads of control.

use crate::keys::{self, Table};
use crate::rows::{Rows, RowsError};
use crate::state::{ClusterRow, parse, read, scan};
use engine_core::meta::{AccessKeyRow, AccountRow, BucketNameRow, ControlQuery, ControlReply};
use engine_types::{AccountId, BucketName};
use serde::de::DeserializeOwned;
use std::ops::Bound;

/// Answers `query`.
pub(super) fn answer(rows: &dyn Rows, query: &ControlQuery) -> Result<ControlReply, RowsError> {
    Ok(match query {
        ControlQuery::Bucket(name) => ControlReply::Bucket(read(rows, &keys::name(name))?),
        ControlQuery::Buckets {
            owner,
            prefix,
            after,
            limit,
        } => {
            let (found, more) = buckets(rows, *owner, prefix, after.as_deref(), *limit)?;
            ControlReply::Buckets(found, more)
        }
        ControlQuery::UnsettledBuckets => {
            let table = keys::table(Table::NamesUnsettled);
            let found = scan(rows, &table).map(|row| named(&row?, 1));
            ControlReply::Buckets(found.collect::<Result<_, _>>()?, false)
        }
        ControlQuery::AccessKey(access_key) => {
            let key: Option<AccessKeyRow> = read(rows, &keys::access_key(access_key))?;
            let account = match &key {
                Some(key) => account(rows, Some(key.account))?,
                None => None,
            };
            ControlReply::AccessKey(key.zip(account))
        }
        ControlQuery::AccessKeys => ControlReply::AccessKeys(all(rows, Table::AccessKeys)?),
        ControlQuery::Account(id) => ControlReply::Account(account(rows, Some(*id))?),
        ControlQuery::AccountByCanonicalId(id) => ControlReply::Account(account(
            rows,
            read(rows, &keys::account_by_canonical_id(id))?,
        )?),
        ControlQuery::AccountByEmail(email) => {
            ControlReply::Account(account(rows, read(rows, &keys::account_by_email(email))?)?)
        }
        ControlQuery::Accounts => ControlReply::Accounts(all(rows, Table::Accounts)?),
        ControlQuery::Layout => ControlReply::Layout(read(rows, &keys::table(Table::Layout))?),
        ControlQuery::KmsKey(name) => ControlReply::KmsKey(read(rows, &keys::kms_key(name))?),
        ControlQuery::KmsKeys => ControlReply::KmsKeys(all(rows, Table::KmsKeys)?),
        ControlQuery::DestroyedKeys => {
            ControlReply::DestroyedKeys(all(rows, Table::DestroyedKeys)?)
        }
        ControlQuery::Cluster => {
            let row: Option<ClusterRow> = read(rows, &keys::table(Table::Cluster))?;
            ControlReply::Cluster(row.map(|row| row.id))
        }
    })
}

fn account(rows: &dyn Rows, id: Option<AccountId>) -> Result<Option<AccountRow>, RowsError> {
    id.map_or(Ok(None), |id| read(rows, &keys::account(id)))
}

fn all<T: DeserializeOwned>(rows: &dyn Rows, table: Table) -> Result<Vec<T>, RowsError> {
    scan(rows, &keys::table(table))
        .map(|row| parse(&row?.1))
        .collect()
}

fn named(
    (key, value): &(Vec<u8>, Vec<u8>),
    skip: usize,
) -> Result<(BucketName, BucketNameRow), RowsError> {
    let name = BucketName::parse(keys::split_text(key, skip)?);
    Ok((
        name.map_err(|error| RowsError(error.to_string()))?,
        parse(value)?,
    ))
}

/// Live names of an owner with `prefix`, strictly after `after`.
fn buckets(
    rows: &dyn Rows,
    owner: AccountId,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<(Vec<(BucketName, BucketNameRow)>, bool), RowsError> {
    // Before a name in the key: the tag and the owner's number.
    const NAME_AT: usize = 9;
    let first = keys::names_by_owner(owner, prefix);
    let last = after.map(|after| keys::names_by_owner(owner, after));
    let from = match &last {
        Some(last) if *last >= first => Bound::Excluded(&last[..]),
        _ => Bound::Included(&first[..]),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for row in rows.scan(from, &keys::above(&first)) {
        let row = row?;
        if found.len() == limit {
            return Ok((found, limit > 0));
        }
        found.push(named(&row, NAME_AT)?);
    }
    Ok((found, false))
}
