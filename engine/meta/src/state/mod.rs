//! The pure state machine: (rows, entry) → (row changes, answer). No clock, no randomness, no I/O;
//! the same log gives the same rows on every replica, however its entries are batched.
//!
//! Everything a command must judge (conditions, versioning, bucket still there and of that epoch,
//! ids above the watermark) is judged here, because only here is it judged in one order. A refused
//! command changes nothing but the row that remembers its answer. One command changes a bounded
//! number of rows: at most the 10,000 parts of one upload.
//!
//! What a command replaces or deletes goes the same way always: its bytes in stripes become a `dead`
//! row in the same apply and stay readable until `Freed`; inline bytes go at once, since whoever
//! reads them holds them already; counters change with the rows they count.

mod tx;

mod buckets;
mod complete;
mod control;
mod dead;
mod delete;
mod done;
mod objects;
mod packs;
mod parts;
mod uploads;
mod versions;
mod watermark;

#[cfg(test)]
mod tests;

pub use buckets::BUCKET_ABORT_ROWS;
pub use dead::EXPANDED_AT_ONCE;
pub use done::DONE_KEPT_MS;
pub use watermark::{STAMP_AGE_MS, WATERMARK_LAG_MS};

pub(crate) use control::ClusterRow;
pub(crate) use done::clock;
pub(crate) use tx::{known_bucket, parse, read, scan};
pub(crate) use versions::{Line, current, find};
pub(crate) use watermark::{boots, watermark};

use crate::keys::{self, Table};
use crate::rows::{Changes, Overlay, Rows, RowsError};
use engine_core::meta::{Answer, Change, Command, Refusal};
use engine_types::{Order, Stamp};
use tx::{Step, Stop, Tx};

/// One committed entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its log index.
    pub index: u64,
    /// As the leader stamped it; apply never goes back behind an earlier one.
    pub stamp: Stamp,
    /// What to do.
    pub command: Command,
}

/// Applies `entry` to `rows` as they will be once `changes` are written, and adds what it changes
/// to `changes`. On error `changes` is as before and the replica must stop: it would part from the
/// others.
pub fn apply(rows: &dyn Rows, entry: &Entry, changes: &mut Changes) -> Result<Answer, RowsError> {
    let (answer, own) = applied(
        Overlay {
            below: rows,
            changes,
        },
        entry,
    )?;
    changes.0.extend(own.0);
    Ok(answer)
}

fn applied(rows: Overlay<'_>, entry: &Entry) -> Result<(Answer, Changes), RowsError> {
    let mut clock = clock(&rows)?;
    let later = entry.stamp > clock.order.stamp;
    #[cfg(sabotage)]
    let later = later || engine_types::sabotage("time-back");
    if later {
        clock.order = Order {
            stamp: entry.stamp,
            seq: 0,
        };
    }
    let Command { id, change } = &entry.command;
    let already = done::already(&rows, clock.order.stamp, *id)?;
    let mut tx = Tx::new(rows, clock, entry.index, *id);
    let answer = if let Some(answer) = already {
        answer
    } else {
        let answer = match change_rows(&mut tx, change) {
            Ok(answer) => {
                tx.settle()?;
                answer
            }
            Err(Stop::Refused(refusal)) => {
                tx.roll_back(clock);
                Answer::Refused(refusal)
            }
            Err(Stop::Rows(error)) => return Err(error),
        };
        done::keep(&mut tx, change, &answer);
        answer
    };
    done::forget(&mut tx)?;
    let clock = tx.clock;
    tx.write(keys::table(Table::Clock), &clock);
    Ok((answer, tx.into_changes()))
}

fn change_rows(tx: &mut Tx<'_>, change: &Change) -> Step<Answer> {
    match change {
        Change::Tick => Ok(Answer::Done),
        Change::Control(change) => control::apply(tx, change),
        Change::CreateBucket(row) => buckets::create(tx, row),
        Change::DeleteBucket { id } => buckets::delete(tx, *id),
        Change::SetVersioning {
            id,
            epoch,
            versioning,
        } => buckets::set_versioning(tx, (*id, *epoch), *versioning),
        Change::SetDocument {
            id,
            epoch,
            kind,
            content,
        } => buckets::set_document(tx, (*id, *epoch), *kind, content.as_ref()),
        Change::PutVersion(put) => objects::put(tx, put),
        Change::Delete(delete) => delete::delete(tx, delete),
        Change::CreateUpload(create) => uploads::create(tx, create),
        Change::PutPart(put) => uploads::put_part(tx, put),
        Change::CompleteUpload(complete) => complete::complete(tx, complete),
        Change::AbortUpload {
            bucket,
            key,
            upload,
        } => uploads::abort(tx, *bucket, key, *upload),
        Change::SetTags {
            bucket,
            key,
            judged,
            tags,
        } => objects::set_tags(tx, *bucket, key, judged, tags),
        Change::SetAcl {
            bucket,
            key,
            judged,
            acl,
        } => objects::set_acl(tx, *bucket, key, judged, acl),
        Change::Reattribute {
            bucket,
            key,
            condition,
            attributes,
            checksum,
        } => {
            let new = objects::NewAttributes {
                condition,
                attributes,
                checksum: checksum.as_ref(),
            };
            objects::reattribute(tx, *bucket, key, &new)
        }
        Change::MoveStripe { .. }
        | Change::Rewrap { .. }
        | Change::Freed { .. }
        | Change::Report { .. }
        | Change::Fence { .. }
        | Change::Pack(_)
        | Change::PackOwner { .. }
        | Change::AdvanceWatermark => background(tx, change),
    }
}

/// What the background changes, which names things by ids that are never reused.
fn background(tx: &mut Tx<'_>, change: &Change) -> Step<Answer> {
    match change {
        Change::MoveStripe {
            bucket,
            key,
            data,
            index,
            from,
            to,
        } => {
            let stripe = parts::StripeOf {
                bucket: *bucket,
                key,
                data: *data,
                index: *index,
            };
            parts::move_stripe(tx, &stripe, from, to)
        }
        Change::Rewrap {
            bucket,
            key,
            data,
            from,
            to,
        } => parts::rewrap(tx, (*bucket, key, *data), from, to),
        Change::Freed { bucket, key, dead } => dead::freed(tx, *bucket, key, dead),
        Change::Report { node, boot, oldest } => watermark::report(tx, *node, *boot, *oldest),
        Change::Fence { node, boot } => watermark::fence(tx, *node, *boot),
        Change::Pack(pack) => packs::pack(tx, pack),
        Change::PackOwner { pack, owner, holds } => packs::set_owner(tx, *pack, *owner, *holds),
        Change::AdvanceWatermark => watermark::advance(tx),
        // `change_rows` has matched the rest, exhaustively.
        _ => Err(Refusal::WrongPartition.into()),
    }
}
