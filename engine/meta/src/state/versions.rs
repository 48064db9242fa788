//! Versions of one key: where they stand, what becomes current, what replaces what.
//!
//! The newest version by apply order is the current one, always. If it is an object it stands in
//! `objects` and nowhere else; all others, and every delete marker, stand in `versions`, newest
//! first. `nulls` finds the `null` version where that is in `versions`.

use super::dead;
use super::tx::{Step, Tx, parse, read, scan};
use crate::keys;
use crate::rows::{Rows, RowsError};
use engine_core::meta::{
    BucketRow, Condition, EtagMatch, Refusal, VersionAttributes, VersionKind, VersionRow,
    Versioning,
};
use engine_tenancy::Delta;
use engine_types::{BucketId, ETag, ObjectKey, Order, VersionId};

/// A version and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The version.
    pub(crate) row: VersionRow,
    /// In `objects`; else in `versions`.
    pub(crate) in_objects: bool,
    /// It is the newest.
    pub(crate) latest: bool,
}

/// A bucket as its versions are looked up. One that was never versioned has no row in `versions`, and
/// never goes back to that state: a PUT there is spared the scan that finds nothing, which was a fifth
/// of what applying it cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Which.
    pub(crate) bucket: BucketId,
    /// `versions` may have rows of it.
    pub(crate) versioned: bool,
}

impl From<&BucketRow> for Line {
    fn from(row: &BucketRow) -> Self {
        Self {
            bucket: row.id,
            versioned: row.versioning != Versioning::Unversioned,
        }
    }
}

/// Newest row of `versions`.
fn newest_below(
    rows: &dyn Rows,
    line: Line,
    key: &ObjectKey,
) -> Result<Option<VersionRow>, RowsError> {
    if !line.versioned {
        return Ok(None);
    }
    let prefix = keys::of_key(keys::Table::Versions, line.bucket, key);
    let first = scan(rows, &prefix).next().transpose()?;
    first.map(|(_, value)| parse(&value)).transpose()
}

/// The current version: an object, or a marker.
pub(crate) fn current(
    rows: &dyn Rows,
    line: Line,
    key: &ObjectKey,
) -> Result<Option<Found>, RowsError> {
    if let Some(row) = read(rows, &keys::object(line.bucket, key))? {
        return Ok(Some(Found {
            row,
            in_objects: true,
            latest: true,
        }));
    }
    let below = newest_below(rows, line, key)?;
    Ok(below.map(|row| Found {
        row,
        in_objects: false,
        latest: true,
    }))
}

/// The version of that id.
pub(crate) fn find(
    rows: &dyn Rows,
    line: Line,
    key: &ObjectKey,
    version: VersionId,
) -> Result<Option<Found>, RowsError> {
    let (bucket, current) = (line.bucket, current(rows, line, key)?);
    if current
        .as_ref()
        .is_none_or(|found| found.row.version == version)
    {
        return Ok(current);
    }
    let order = match version {
        VersionId::Id { order, .. } => Some(order),
        VersionId::Null => read(rows, &keys::null(bucket, key))?,
    };
    let Some(order) = order else { return Ok(None) };
    let row: Option<VersionRow> = read(rows, &keys::version(bucket, key, order))?;
    // The order finds the row, the entropy proves that the id was not guessed from a time.
    let row = row.filter(|row| row.version == version);
    Ok(row.map(|row| Found {
        row,
        in_objects: false,
        latest: false,
    }))
}

/// Id and place of a version written now.
pub(crate) fn identity(tx: &mut Tx<'_>, versioning: Versioning) -> (VersionId, Order) {
    let order = tx.next_order();
    match versioning {
        Versioning::Enabled => (tx.version_id(order), order),
        Versioning::Unversioned | Versioning::Suspended => (VersionId::Null, order),
    }
}

/// Makes `row` the current version and counts it. A `null` version replaces the one there was.
/// `newest` is what is current until now; callers have judged it, and it is not looked up again: that
/// was two of the three look-ups of a new key, each through all of the tables.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    line: Line,
    key: &ObjectKey,
    row: &VersionRow,
    newest: Option<&Found>,
) -> Step<()> {
    let bucket = line.bucket;
    let mut above = newest.filter(|newest| newest.in_objects);
    if row.version == VersionId::Null
        && let Some(replaced) = null_version(tx, line, key, newest)?
    {
        take(tx, bucket, key, &replaced);
        dead::kill_body(tx, bucket, key, &replaced.row.body)?;
        above = above.filter(|_| !replaced.in_objects);
    }
    if let Some(above) = above {
        tx.delete(keys::object(bucket, key));
        put_below(tx, bucket, key, &above.row);
    }
    match row.kind {
        VersionKind::Object => tx.write(keys::object(bucket, key), row),
        VersionKind::DeleteMarker => put_below(tx, bucket, key, row),
    }
    let attributes = &row.attributes;
    tx.charge(
        bucket,
        attributes.charged_to,
        &attributes.class,
        Delta::object(row.counted),
    );
    Ok(())
}

/// The `null` version, where `newest` is the newest.
fn null_version(
    tx: &Tx<'_>,
    line: Line,
    key: &ObjectKey,
    newest: Option<&Found>,
) -> Result<Option<Found>, RowsError> {
    match newest {
        None => Ok(None),
        Some(newest) if newest.row.version == VersionId::Null => Ok(Some(newest.clone())),
        Some(_) => find(&tx.rows(), line, key, VersionId::Null),
    }
}

/// Deletes a version for good; what is newest then is current.
pub(crate) fn remove(tx: &mut Tx<'_>, line: Line, key: &ObjectKey, found: &Found) -> Step<()> {
    take(tx, line.bucket, key, found);
    dead::kill_body(tx, line.bucket, key, &found.row.body)?;
    promote(tx, line, key)
}

/// Writes a changed row over the one found. Its version, order and kind are the same.
pub(crate) fn rewrite(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    found: &Found,
    row: &VersionRow,
) {
    let place = if found.in_objects {
        keys::object(bucket, key)
    } else {
        keys::version(bucket, key, row.order)
    };
    tx.write(place, row);
    let (old, new) = (&found.row.attributes, &row.attributes);
    tx.charge(
        bucket,
        old.charged_to,
        &old.class,
        -Delta::object(found.row.counted),
    );
    tx.charge(
        bucket,
        new.charged_to,
        &new.class,
        Delta::object(row.counted),
    );
}

/// Takes a version's row away and no longer counts it; its body stays.
pub(crate) fn take(tx: &mut Tx<'_>, bucket: BucketId, key: &ObjectKey, found: &Found) {
    if found.in_objects {
        tx.delete(keys::object(bucket, key));
    } else {
        tx.delete(keys::version(bucket, key, found.row.order));
        if found.row.version == VersionId::Null {
            tx.delete(keys::null(bucket, key));
        }
    }
    let attributes = &found.row.attributes;
    tx.charge(
        bucket,
        attributes.charged_to,
        &attributes.class,
        -Delta::object(found.row.counted),
    );
}

fn put_below(tx: &mut Tx<'_>, bucket: BucketId, key: &ObjectKey, row: &VersionRow) {
    tx.write(keys::version(bucket, key, row.order), row);
    if row.version == VersionId::Null {
        tx.write(keys::null(bucket, key), &row.order);
    }
}

/// Where `objects` has no row and the newest version is an object, moves it there.
fn promote(tx: &mut Tx<'_>, line: Line, key: &ObjectKey) -> Step<()> {
    let bucket = line.bucket;
    if tx.exists(&keys::object(bucket, key))? {
        return Ok(());
    }
    let next = newest_below(&tx.rows(), line, key)?;
    if let Some(row) = next.filter(|row| row.kind == VersionKind::Object) {
        tx.delete(keys::version(bucket, key, row.order));
        if row.version == VersionId::Null {
            tx.delete(keys::null(bucket, key));
        }
        tx.write(keys::object(bucket, key), &row);
    }
    Ok(())
}

/// What a condition answers where there is nothing to match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absent {
    /// No version at all.
    pub(crate) none: Refusal,
    /// A delete marker.
    pub(crate) marker: Refusal,
}

impl Absent {
    /// PUT, Complete, copy: a delete marker counts as absent.
    pub(crate) const WRITE: Self = Self {
        none: Refusal::NoSuchKey,
        marker: Refusal::NoSuchKey,
    };
    /// DELETE: a marker is there, but matches nothing.
    pub(crate) const DELETE: Self = Self {
        none: Refusal::NoSuchKey,
        marker: Refusal::PreconditionFailed,
    };
}

/// Judges `condition` against the version it is about.
pub(crate) fn judge(
    condition: &Condition,
    found: Option<&VersionRow>,
    absent: Absent,
) -> Result<(), Refusal> {
    let object = found.filter(|row| row.kind == VersionKind::Object);
    let changed =
        condition.unchanged.is_some() && condition.unchanged != object.map(|row| row.order);
    #[cfg(sabotage)]
    let changed = changed && !engine_types::sabotage("ignore-change");
    if changed {
        return Err(Refusal::Changed);
    }
    #[cfg(sabotage)]
    let condition = &Condition {
        if_match: (condition.if_match.clone()).filter(|_| !engine_types::sabotage("drop-if-match")),
        ..condition.clone()
    };
    match (&condition.if_match, object) {
        (Some(tags), Some(row)) if !matches(tags, &row.etag) => {
            return Err(Refusal::PreconditionFailed);
        }
        (Some(_), None) => {
            return Err(if found.is_some() {
                absent.marker
            } else {
                absent.none
            });
        }
        _ => {}
    }
    #[cfg(sabotage)]
    if engine_types::sabotage("drop-if-none-match") {
        return Ok(());
    }
    match (&condition.if_none_match, object) {
        (Some(tags), Some(row)) if matches(tags, &row.etag) => Err(Refusal::PreconditionFailed),
        _ => Ok(()),
    }
}

fn matches(tags: &EtagMatch, etag: &ETag) -> bool {
    match tags {
        EtagMatch::Any => true,
        EtagMatch::Tags(tags) => tags.contains(etag),
    }
}

/// Bytes counted of a version beside its plaintext: key, system and user metadata, tags.
pub(crate) fn described(key: &ObjectKey, attributes: &VersionAttributes) -> u64 {
    let pairs = [&attributes.headers, &attributes.user, &attributes.tags];
    let pairs: usize = pairs
        .into_iter()
        .flatten()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    u64::try_from(key.as_str().len() + pairs).unwrap_or(u64::MAX)
}

/// A row for an answer: without what the proposer knows, since answers are kept for ten minutes.
pub(crate) fn slim(mut row: VersionRow) -> Box<VersionRow> {
    let attributes = &mut row.attributes;
    attributes.headers.clear();
    attributes.user.clear();
    attributes.tags.clear();
    attributes.acl.clear();
    Box::new(row)
}
