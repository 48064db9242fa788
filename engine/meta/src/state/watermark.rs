//! The watermark W: no data id or copy token born before it will ever be committed again, so what
//! was born before it and is not referenced is an orphan.
//!
//! W only has to rise slowly enough for open writes; that a commit below it is refused is what keeps
//! data safe. So a lost or late report costs a writer a 503, never a byte.

use super::tx::{Step, Tx, parse, read, scan};
use crate::keys::{self, Table};
use crate::rows::{Rows, RowsError};
use engine_core::meta::{Answer, BootRow, Refusal};
use engine_types::{BirthId, BootId, NodeId, Stamp};

/// W stays at least this far behind the partition's stamp.
pub const WATERMARK_LAG_MS: u64 = 60_000;
/// A writer's stamp is at most this old when it makes an id of it.
pub const STAMP_AGE_MS: u64 = 10_000;

/// W now.
pub(crate) fn watermark(rows: &dyn Rows) -> Result<Stamp, RowsError> {
    Ok(read(rows, &keys::table(Table::Watermark))?.unwrap_or_default())
}

/// A boot says what it has open. It holds W at its oldest open birth, and in any case at the births
/// it may still use: those of the stamp it knew when it made this report. So W rests safely on the
/// last report however late it is, and a new leader needs no report of its own term.
pub(crate) fn report(
    tx: &mut Tx<'_>,
    node: NodeId,
    boot: BootId,
    oldest: Option<Stamp>,
) -> Step<Answer> {
    let known: Option<BootRow> = tx.read(&keys::boot(node))?;
    #[cfg(sabotage)]
    let known = known.filter(|_| !engine_types::sabotage("hear-fenced-boot"));
    if known.is_some_and(|known| boot < known.boot || (boot == known.boot && known.fenced)) {
        return Err(Refusal::Fenced.into());
    }
    let next = tx.command.birth().minus_ms(STAMP_AGE_MS);
    let holds = oldest.map_or(next, |oldest| oldest.min(next));
    let row = BootRow {
        boot,
        fenced: false,
        reported: tx.now(),
        holds,
    };
    tx.write(keys::boot(node), &row);
    Ok(Answer::Watermark(watermark(&tx.rows())?))
}

/// A boot is dead, and all before it on its node: none holds W or is heard again.
pub(crate) fn fence(tx: &mut Tx<'_>, node: NodeId, boot: BootId) -> Step<Answer> {
    let known: Option<BootRow> = tx.read(&keys::boot(node))?;
    if known.is_none_or(|known| known.boot <= boot) {
        let row = BootRow {
            boot,
            fenced: true,
            reported: tx.now(),
            holds: Stamp(0),
        };
        tx.write(keys::boot(node), &row);
    }
    Ok(Answer::Done)
}

/// Moves W as far as it may go; never back.
pub(crate) fn advance(tx: &mut Tx<'_>) -> Step<Answer> {
    let mut next = tx.now().minus_ms(WATERMARK_LAG_MS);
    #[cfg(sabotage)]
    if engine_types::sabotage("watermark-too-soon") {
        next = tx.now();
    }
    for (_, boot) in boots(&tx.rows())? {
        #[cfg(sabotage)]
        if engine_types::sabotage("forget-boots") {
            continue;
        }
        if !boot.fenced {
            next = next.min(boot.holds);
        }
    }
    let before = watermark(&tx.rows())?;
    #[cfg(sabotage)]
    let before = before.min(if engine_types::sabotage("watermark-back") {
        next.minus_ms(1)
    } else {
        before
    });
    if next > before {
        tx.write(keys::table(Table::Watermark), &next);
    }
    Ok(Answer::Watermark(next.max(before)))
}

/// The newest boot of every node.
pub(crate) fn boots(rows: &dyn Rows) -> Result<Vec<(NodeId, BootRow)>, RowsError> {
    let found = scan(rows, &keys::table(Table::Boots));
    found
        .map(|row| {
            let (key, value) = row?;
            Ok((keys::split_boot(&key)?, parse(&value)?))
        })
        .collect()
}
