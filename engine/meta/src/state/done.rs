//! At most once: the answers of the last ten minutes, by command id.
//!
//! Refusals are kept too: a writer deletes its shards on a refusal, so the same command, still on
//! its way through the log a second time, must not succeed after it.

use super::tx::{Clock, Tx, parse, read};
use crate::keys::{self, Table};
use crate::rows::{Overlay, Rows, RowsError};
use engine_core::meta::{Answer, Change, Refusal};
use engine_types::{BirthId, CommandId, Stamp};
use std::ops::Bound;

/// How long an answer is kept, in ms of the partition's stamp. Nothing holds it back.
pub const DONE_KEPT_MS: u64 = 10 * 60 * 1000;
/// Old answers are removed once in this many commands …
const FORGET_EVERY: u32 = 32;
/// … and so many at once: twice as many as are added, so that they always catch up.
const FORGET_AT_ONCE: usize = 64;

/// D: commands born before it are refused.
fn floor(now: Stamp) -> Stamp {
    now.minus_ms(DONE_KEPT_MS)
}

/// What to answer without applying: it was done already, or is too old to tell.
pub(crate) fn already(
    rows: &Overlay<'_>,
    now: Stamp,
    command: CommandId,
) -> Result<Option<Answer>, RowsError> {
    let old = command.birth() < floor(now);
    #[cfg(sabotage)]
    let old = old && !engine_types::sabotage("accept-old-command");
    if old {
        return Ok(Some(Answer::Refused(Refusal::TooOld)));
    }
    #[cfg(sabotage)]
    if engine_types::sabotage("skip-done") {
        return Ok(None);
    }
    read(rows, &keys::done(command))
}

/// Keeps the answer. A tick changes nothing and is not worth a row.
pub(crate) fn keep(tx: &mut Tx<'_>, change: &Change, answer: &Answer) {
    if !matches!(change, Change::Tick) {
        tx.write(keys::done(tx.command), answer);
    }
}

/// Removes a bounded number of answers below D, now and then. It starts where it last ended, so that
/// no table ever scans over what was deleted before.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<(), RowsError> {
    tx.clock.since_forgot += 1;
    if tx.clock.since_forgot < FORGET_EVERY {
        return Ok(());
    }
    tx.clock.since_forgot = 0;
    let from = keys::done(CommandId(tx.clock.forgotten));
    let to = keys::done(CommandId::born(floor(tx.now()), [0; 10]));
    let old: Result<Vec<_>, _> = tx
        .rows()
        .scan(Bound::Excluded(&from), &to)
        .take(FORGET_AT_ONCE)
        .collect();
    for (key, _) in old? {
        if let Some(id) = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok()) {
            tx.clock.forgotten = id;
        }
        tx.delete(key);
    }
    Ok(())
}

/// The clock as the last entry left it.
pub(crate) fn clock(rows: &dyn Rows) -> Result<Clock, RowsError> {
    let value = rows.get(&keys::table(Table::Clock))?;
    Ok(value
        .map(|value| parse(&value))
        .transpose()?
        .unwrap_or_default())
}
