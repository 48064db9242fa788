//! Reads of a partition: pure, over one consistent view of its rows.
//!
//! Linearizability is the caller's: it asks after a read index. What a client asks costs in proportion
//! to what is answered. Two that the background asks do not: a page of dead things passes over those
//! that died too lately, and counters come all at once.

mod body;
mod control;
mod list;
mod packs;
mod scans;
mod uploads;
mod versions;
mod walk;

#[cfg(test)]
mod tests;

use crate::keys;
use crate::rows::{Rows, RowsError};
use crate::state::{Line, clock, known_bucket, read, watermark};
use engine_core::meta::{BucketRef, Query, Refusal, Reply};
use engine_types::BucketId;

/// Answers `query` from `rows`, which show the entries up to index `applied`.
pub fn answer(rows: &dyn Rows, query: &Query, applied: u64) -> Result<Reply, RowsError> {
    let Some(versioned) = versioned(rows, query)? else {
        return Ok(Reply::Refused(Refusal::StaleBucket));
    };
    Ok(match query {
        Query::Control(query) => Reply::Control(control::answer(rows, query)?),
        Query::Bucket(id) => Reply::Bucket(read(rows, &keys::bucket(*id))?.map(Box::new)),
        Query::Version {
            bucket,
            key,
            version,
            body,
        } => {
            let line = Line {
                bucket: bucket.id,
                versioned,
            };
            body::version(rows, line, key, *version, *body)?
        }
        Query::Part {
            bucket,
            key,
            data,
            first,
        } => Reply::Part(body::part(rows, *bucket, key, *data, *first)?.map(Box::new)),
        Query::Manifest {
            bucket,
            key,
            upload,
            chunk,
        } => Reply::Manifest(body::manifest(rows, *bucket, key, *upload, *chunk)?),
        Query::List(bucket, page) => Reply::List(list::list(rows, bucket.id, page)?),
        Query::ListVersions {
            bucket,
            page,
            version_after,
        } => Reply::Versions(versions::list(rows, bucket.id, page, *version_after)?),
        Query::ListUploads {
            bucket,
            page,
            upload_after,
        } => Reply::Uploads(uploads::list(rows, bucket.id, page, *upload_after)?),
        Query::Upload {
            bucket,
            key,
            upload,
        } => match read(rows, &keys::upload(bucket.id, key, *upload))? {
            Some(row) => Reply::Upload(Box::new(row)),
            None => Reply::Refused(Refusal::NoSuchUpload),
        },
        Query::ListParts {
            bucket,
            key,
            upload,
            after,
            limit,
        } => match uploads::parts(rows, (bucket.id, key, *upload), *after, *limit)? {
            Some(page) => Reply::Parts(Box::new(page)),
            None => Reply::Refused(Refusal::NoSuchUpload),
        },
        Query::Dead { .. }
        | Query::DataKnown { .. }
        | Query::Clock
        | Query::ScanParts { .. }
        | Query::Counters
        | Query::Boots
        | Query::Packs(_)
        | Query::Repairs { .. } => background(rows, query, applied)?,
    })
}

/// What the background asks, which names things by ids that are never reused.
fn background(rows: &dyn Rows, query: &Query, applied: u64) -> Result<Reply, RowsError> {
    Ok(match query {
        Query::Dead {
            after,
            before,
            limit,
        } => Reply::Dead(scans::dead(rows, after.as_ref(), *before, *limit)?),
        Query::DataKnown { bucket, key, data } => {
            let known = scans::known(rows, *bucket, key, *data)?;
            #[cfg(sabotage)]
            let known = known && !engine_types::sabotage("forget-the-dead");
            Reply::Known(known)
        }
        Query::Clock => Reply::Clock {
            stamp: clock(rows)?.order.stamp,
            watermark: watermark(rows)?,
            applied,
        },
        Query::ScanParts { after, limit } => {
            Reply::ScannedParts(scans::parts(rows, after.as_ref(), *limit)?)
        }
        Query::Counters => Reply::Counters(scans::counters(rows)?),
        Query::Boots => Reply::Boots(crate::state::boots(rows)?),
        Query::Repairs { after, limit } => {
            Reply::Repairs(scans::repairs(rows, after.as_ref(), *limit)?)
        }
        Query::Packs(query) => Reply::Packs(packs::answer(rows, query)?),
        // `answer` has matched the rest, exhaustively.
        _ => Reply::Refused(Refusal::WrongPartition),
    })
}

/// Whether the bucket of an object's read keeps versions, as any other read is taken to; nothing where
/// the bucket is not as the asker knows it.
fn versioned(rows: &dyn Rows, query: &Query) -> Result<Option<bool>, RowsError> {
    let Some(bucket) = object_bucket(query) else {
        return Ok(Some(true));
    };
    let row = known_bucket(rows, bucket)?;
    Ok(row.map(|row| Line::from(&row).versioned))
}

/// The bucket, as the asker knows it, of a read that an old configuration must not answer. Reads by
/// data id need none: ids are never reused, and they follow bytes of buckets already gone.
fn object_bucket(query: &Query) -> Option<BucketRef> {
    match query {
        Query::Version { bucket, .. }
        | Query::List(bucket, _)
        | Query::ListVersions { bucket, .. }
        | Query::ListUploads { bucket, .. }
        | Query::Upload { bucket, .. }
        | Query::ListParts { bucket, .. } => Some(*bucket),
        _ => None,
    }
}

/// A table's rows of one bucket, from a key suffix on.
fn place(table: keys::Table, bucket: BucketId, suffix: &[u8]) -> Vec<u8> {
    [keys::of_bucket(table, bucket), suffix.to_vec()].concat()
}
