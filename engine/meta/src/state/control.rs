//! Control (partition 0): cluster, accounts, access keys, layout, named keys, and the claims of
//! bucket names, whose steps are each idempotent so that a worker can roll them forward.

use super::tx::{Step, Tx};
use crate::keys::{self, Sequence, Table};
use crate::rows::RowsError;
use engine_core::meta::{
    AccessKeyRow, AccessKeyState, AccountRow, Answer, Bootstrap, BucketNameRow, BucketState,
    ControlChange, KeyVersionId, KmsKeyRow, Refusal,
};
use engine_core::placement::{Layout, LayoutChange, LayoutRefusal};
use engine_types::{AccountId, BucketId, BucketName, ClusterId, DriveId, KeyId, PartitionId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What Bootstrap settled for good (**format**).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ClusterRow {
    /// The cluster.
    pub(crate) id: ClusterId,
    /// Data partitions new buckets are spread over: 1 to this.
    pub(crate) partitions: u32,
}

/// Applies a command of control. All but Bootstrap are refused before it.
pub(crate) fn apply(tx: &mut Tx<'_>, change: &ControlChange) -> Step<Answer> {
    let cluster: Option<ClusterRow> = tx.read(&keys::table(Table::Cluster))?;
    if let ControlChange::Bootstrap(first) = change {
        return bootstrap(tx, cluster, first);
    }
    let cluster = cluster.ok_or(Refusal::WrongPartition)?;
    match change {
        ControlChange::Bootstrap(_) => Err(Refusal::OtherCluster.into()),
        ControlChange::PutAccount {
            canonical_id,
            name,
            email,
        } => put_account(tx, canonical_id, name, email),
        ControlChange::PutAccessKey {
            account,
            access_key,
            sealed_secret,
            description,
        } => {
            let new = NewKey {
                account: *account,
                access_key,
                sealed_secret,
                description,
            };
            put_access_key(tx, &new)
        }
        ControlChange::SetAccessKey { access_key, state } => set_access_key(tx, access_key, *state),
        ControlChange::DeleteAccessKey { access_key } => delete_access_key(tx, access_key),
        ControlChange::ClaimBucket { name, owner } => claim(tx, cluster, name, *owner),
        ControlChange::BucketLive { name, id } => {
            settle(tx, name, *id, BucketState::Creating, BucketState::Live)
        }
        ControlChange::BucketDeleting {
            name,
            id,
            deleting: true,
        } => settle(tx, name, *id, BucketState::Live, BucketState::Deleting),
        ControlChange::BucketDeleting {
            name,
            id,
            deleting: false,
        } => settle(tx, name, *id, BucketState::Deleting, BucketState::Live),
        ControlChange::ReleaseBucket { name, id } => release(tx, name, *id),
        ControlChange::ChangeLayout { version, change } => change_layout(tx, *version, change),
        ControlChange::PutKmsKey { name, current } => Ok(put_kms_key(tx, name, *current)?),
        ControlChange::AllotDrive => Ok(allot_drive(tx)?),
        ControlChange::DestroyKeys(versions) => Ok(destroy_keys(tx, versions)),
    }
}

/// Numbers given to drives that are not in the layout yet.
pub(crate) const OPEN_DRIVE_NUMBERS_MAX: usize = 64;

fn bootstrap(tx: &mut Tx<'_>, cluster: Option<ClusterRow>, first: &Bootstrap) -> Step<Answer> {
    match cluster {
        Some(cluster) if cluster.id == first.cluster => return Ok(Answer::Done),
        Some(_) => return Err(Refusal::OtherCluster.into()),
        None if tx.any(&keys::table(Table::Buckets))? => return Err(Refusal::WrongPartition.into()),
        None => {}
    }
    let row = ClusterRow {
        id: first.cluster,
        partitions: first.partitions.max(1),
    };
    tx.write(keys::table(Table::Cluster), &row);
    tx.write(keys::table(Table::Layout), &first.layout);
    let (canonical_id, name, email) = &first.root;
    let account = new_account(tx, canonical_id, name, email, true)?;
    let (access_key, sealed_secret) = &first.root_key;
    let new = NewKey {
        account: account.id,
        access_key,
        sealed_secret,
        description: "root",
    };
    put_access_key(tx, &new)?;
    Ok(Answer::Done)
}

/// The next number of a sequence, from 1 on. Never reused.
fn next(tx: &mut Tx<'_>, which: Sequence) -> Result<u64, RowsError> {
    let key = keys::sequence(which);
    let number = tx.read::<u64>(&key)?.unwrap_or(0) + 1;
    tx.write(key, &number);
    Ok(number)
}

fn new_account(
    tx: &mut Tx<'_>,
    canonical_id: &str,
    name: &str,
    email: &str,
    root: bool,
) -> Step<AccountRow> {
    let row = AccountRow {
        id: AccountId(next(tx, Sequence::Account)?),
        canonical_id: canonical_id.into(),
        name: name.into(),
        email: email.into(),
        root,
        created: tx.now(),
    };
    tx.write(keys::account(row.id), &row);
    tx.write(keys::account_by_canonical_id(canonical_id), &row.id);
    if !email.is_empty() {
        tx.write(keys::account_by_email(email), &row.id);
    }
    Ok(row)
}

fn put_account(tx: &mut Tx<'_>, canonical_id: &str, name: &str, email: &str) -> Step<Answer> {
    let known: Option<AccountId> = tx.read(&keys::account_by_canonical_id(canonical_id))?;
    let holder: Option<AccountId> = tx.read(&keys::account_by_email(email))?;
    if !email.is_empty() && holder.is_some() && holder != known {
        return Err(Refusal::EmailTaken.into());
    }
    let Some(id) = known else {
        return Ok(Answer::Account(new_account(
            tx,
            canonical_id,
            name,
            email,
            false,
        )?));
    };
    let mut row: AccountRow = tx.read(&keys::account(id))?.ok_or(Refusal::NoSuchAccount)?;
    if row.email != email {
        if !row.email.is_empty() {
            tx.delete(keys::account_by_email(&row.email));
        }
        if !email.is_empty() {
            tx.write(keys::account_by_email(email), &id);
        }
    }
    row.name = name.into();
    row.email = email.into();
    tx.write(keys::account(id), &row);
    Ok(Answer::Account(row))
}

struct NewKey<'a> {
    account: AccountId,
    access_key: &'a str,
    sealed_secret: &'a ByteBuf,
    description: &'a str,
}

fn put_access_key(tx: &mut Tx<'_>, new: &NewKey<'_>) -> Step<Answer> {
    if !tx.exists(&keys::account(new.account))? {
        return Err(Refusal::NoSuchAccount.into());
    }
    let known: Option<AccessKeyRow> = tx.read(&keys::access_key(new.access_key))?;
    let row = match known {
        Some(known) if known.account != new.account => return Err(Refusal::AccessKeyExists.into()),
        Some(known) => AccessKeyRow {
            sealed_secret: new.sealed_secret.clone(),
            description: new.description.into(),
            ..known
        },
        None => AccessKeyRow {
            id: KeyId(next(tx, Sequence::AccessKey)?),
            access_key: new.access_key.into(),
            account: new.account,
            sealed_secret: new.sealed_secret.clone(),
            state: AccessKeyState::Active,
            created: tx.now(),
            description: new.description.into(),
        },
    };
    tx.write(keys::access_key(new.access_key), &row);
    tx.write(keys::access_key_by_id(row.id), &row.access_key);
    Ok(Answer::AccessKey(row))
}

fn set_access_key(tx: &mut Tx<'_>, access_key: &str, state: AccessKeyState) -> Step<Answer> {
    let place = keys::access_key(access_key);
    let mut row: AccessKeyRow = tx.read(&place)?.ok_or(Refusal::NoSuchAccessKey)?;
    row.state = state;
    tx.write(place, &row);
    Ok(Answer::AccessKey(row))
}

fn delete_access_key(tx: &mut Tx<'_>, access_key: &str) -> Step<Answer> {
    let place = keys::access_key(access_key);
    let row: AccessKeyRow = tx.read(&place)?.ok_or(Refusal::NoSuchAccessKey)?;
    tx.delete(place);
    tx.delete(keys::access_key_by_id(row.id));
    Ok(Answer::AccessKey(row))
}

fn claim(
    tx: &mut Tx<'_>,
    cluster: ClusterRow,
    name: &BucketName,
    owner: AccountId,
) -> Step<Answer> {
    let known: Option<BucketNameRow> = tx.read(&keys::name(name.as_str()))?;
    #[cfg(sabotage)]
    let known = known.filter(|_| !engine_types::sabotage("claim-twice"));
    if let Some(known) = known {
        let mine = known.owner == owner;
        return match known.state {
            BucketState::Creating if mine => Ok(Answer::Claimed(known)),
            BucketState::Creating | BucketState::Live => {
                Err(Refusal::BucketExists { owned: mine }.into())
            }
            BucketState::Deleting => Err(Refusal::BucketBusy.into()),
        };
    }
    if !tx.exists(&keys::account(owner))? {
        return Err(Refusal::NoSuchAccount.into());
    }
    let id = BucketId(next(tx, Sequence::Bucket)?);
    let home = u32::try_from(id.0 % u64::from(cluster.partitions)).unwrap_or(0) + 1;
    let row = BucketNameRow {
        id,
        home: PartitionId(home),
        owner,
        state: BucketState::Creating,
        created: tx.now(),
    };
    write_name(tx, name, &row);
    Ok(Answer::Claimed(row))
}

/// Writes a name's row and the index it belongs to: live names by owner, others as unsettled.
fn write_name(tx: &mut Tx<'_>, name: &BucketName, row: &BucketNameRow) {
    let name = name.as_str();
    let (live, unsettled) = (
        keys::names_by_owner(row.owner, name),
        keys::name_unsettled(name),
    );
    tx.write(keys::name(name), row);
    if row.state == BucketState::Live {
        tx.write(live, row);
        tx.delete(unsettled);
    } else {
        tx.write(unsettled, row);
        tx.delete(live);
    }
}

/// Moves a name from one state to the next; there already: done.
fn settle(
    tx: &mut Tx<'_>,
    name: &BucketName,
    id: BucketId,
    from: BucketState,
    to: BucketState,
) -> Step<Answer> {
    let known: Option<BucketNameRow> = tx.read(&keys::name(name.as_str()))?;
    let mut row = known
        .filter(|row| row.id == id)
        .ok_or(Refusal::NoSuchBucket)?;
    if row.state == from {
        row.state = to;
        write_name(tx, name, &row);
    } else if row.state != to {
        return Err(Refusal::BucketBusy.into());
    }
    Ok(Answer::Claimed(row))
}

/// Frees a name whose bucket its home has deleted, or never made, in whatever state others left it:
/// what the home did is final, and ids are never used twice. Free already, or in another life: done.
fn release(tx: &mut Tx<'_>, name: &BucketName, id: BucketId) -> Step<Answer> {
    let known: Option<BucketNameRow> = tx.read(&keys::name(name.as_str()))?;
    let Some(row) = known.filter(|row| row.id == id) else {
        return Ok(Answer::Done);
    };
    tx.delete(keys::name(name.as_str()));
    tx.delete(keys::name_unsettled(name.as_str()));
    tx.delete(keys::names_by_owner(row.owner, name.as_str()));
    Ok(Answer::Done)
}

/// Numbers of drives (**format**): under `Sequence::Drive`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct DriveNumbers {
    /// The highest ever given.
    last: u32,
    /// Given, and not in the layout yet; ascending.
    open: Vec<DriveId>,
}

fn drive_numbers(tx: &Tx<'_>, layout: &Layout) -> Result<DriveNumbers, RowsError> {
    let mut numbers: DriveNumbers = tx
        .read(&keys::sequence(Sequence::Drive))?
        .unwrap_or_default();
    // The first drives bring their numbers along.
    let highest = layout.drives.iter().map(|drive| drive.id.0).max();
    numbers.last = numbers.last.max(highest.unwrap_or(0));
    Ok(numbers)
}

fn layout(tx: &Tx<'_>) -> Result<Layout, RowsError> {
    Ok(tx.read(&keys::table(Table::Layout))?.unwrap_or_default())
}

/// A number never given before. What was given long ago and not used is void: so the list is
/// bounded, and a drive whose addition was cut off can still be added.
fn allot_drive(tx: &mut Tx<'_>) -> Result<Answer, RowsError> {
    let mut numbers = drive_numbers(tx, &layout(tx)?)?;
    numbers.last = numbers.last.saturating_add(1);
    let number = DriveId(numbers.last);
    if numbers.open.len() >= OPEN_DRIVE_NUMBERS_MAX {
        numbers.open.remove(0);
    }
    numbers.open.push(number);
    tx.write(keys::sequence(Sequence::Drive), &numbers);
    Ok(Answer::Drive(number))
}

/// Compare-and-set by the layout's version. A drive enters under a number given for it, once.
fn change_layout(tx: &mut Tx<'_>, version: u64, change: &LayoutChange) -> Step<Answer> {
    let present = layout(tx)?;
    #[cfg(sabotage)]
    let version = if engine_types::sabotage("layout-without-cas") {
        present.version
    } else {
        version
    };
    if present.version != version {
        return Err(Refusal::Changed.into());
    }
    let mut numbers = drive_numbers(tx, &present)?;
    if let LayoutChange::Add(new) | LayoutChange::Replace { new, .. } = change {
        let given = numbers.open.iter().position(|number| *number == new.id);
        let given = given.ok_or(Refusal::Layout(LayoutRefusal::Taken))?;
        numbers.open.remove(given);
    }
    let next = present.changed(change).map_err(Refusal::Layout)?;
    tx.write(keys::table(Table::Layout), &next);
    tx.write(keys::sequence(Sequence::Drive), &numbers);
    Ok(Answer::Done)
}

fn put_kms_key(tx: &mut Tx<'_>, name: &str, current: KeyVersionId) -> Result<Answer, RowsError> {
    let place = keys::kms_key(name);
    let known: Option<KmsKeyRow> = tx.read(&place)?;
    let created = known.map_or(tx.now(), |known| known.created);
    tx.write(
        place,
        &KmsKeyRow {
            name: name.into(),
            current,
            created,
        },
    );
    Ok(Answer::Done)
}

/// Notes them for good.
fn destroy_keys(tx: &mut Tx<'_>, versions: &[KeyVersionId]) -> Answer {
    for version in versions {
        tx.write(keys::destroyed_key(*version), version);
    }
    Answer::Done
}
