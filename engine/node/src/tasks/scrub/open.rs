//! What was found, until it is made anew: whose it is, its repair asked for, and whether a stripe
//! still names it.

use super::super::stripe_map;
use crate::EngineError;
use crate::drives::Drive;
use crate::engine::Inner;
use crate::scrub::{Finding, FindingKind, FindingState, Open, Owner, Search};
use crate::stripe_read::StripeAt;
use engine_core::format::ShardHeader;
use engine_core::meta::{DeadThing, PACKS, Query, Reply, Slot, Stripe, shard_place};
use engine_core::ports::DriveError;
use engine_types::{CopyToken, DriveId, Stamp};
use std::time::Duration;

/// Later than every stamp: those have 48 bits.
const FOREVER: Stamp = Stamp(1 << 48);
/// Copies looked at in one tick.
const COPIES_PER_TICK: usize = 64;
/// Pause before a copy is looked at again, in periods of the scrub; doubled each time, up to the most.
const AGAIN_PERIODS: u32 = 2;
const AGAIN_DOUBLINGS_MOST: u32 = 8;

type Copy = (DriveId, CopyToken);

/// Looks at those that are due.
pub(super) async fn settle(inner: &Inner) -> Result<(), EngineError> {
    let now = inner.clock.monotonic();
    let due: Vec<(Copy, Open)> = inner.scrub.board(|board| {
        let due = board.open.iter().filter(|(_, open)| open.due <= now);
        due.take(COPIES_PER_TICK)
            .map(|(copy, open)| (*copy, open.clone()))
            .collect()
    });
    let mut failed = None;
    for (copy, open) in due {
        if inner.life.is_cancelled() {
            break;
        }
        let state = match one(inner, copy, &open).await {
            Ok(state) => state,
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        inner.scrub.board(|board| match state {
            Some(state) => board.close(copy.0, copy.1, state),
            None => {
                if let Some(open) = board.open.get_mut(&copy) {
                    let doubled = 1 << open.tries.min(AGAIN_DOUBLINGS_MOST);
                    open.tries = open.tries.saturating_add(1);
                    open.due = now + inner.options.scrub_period * AGAIN_PERIODS * doubled;
                }
            }
        });
    }
    failed.map_or(Ok(()), Err)
}

/// One of them; some: it needs no more care.
async fn one(inner: &Inner, copy: Copy, open: &Open) -> Result<Option<FindingState>, EngineError> {
    if let Some(owner) = &open.owner
        && named(inner, owner, copy).await?.is_none()
    {
        return Ok(Some(FindingState::Repaired));
    }
    let Some(drive) = inner.drives.get(copy.0).filter(|drive| drive.readable()) else {
        // Stripes that name a drive which has left are looked after by others.
        let left = inner.drives.is_absent(copy.0) || inner.drives.is_gone(copy.0);
        return Ok(left.then_some(FindingState::Repaired));
    };
    let verify = drive.store.verify(copy.1);
    let error = match inner.drives.run(&drive, "scrub", verify).await {
        Ok(_) => return Ok(Some(FindingState::Sound)),
        Err(error @ (DriveError::NotFound | DriveError::Corrupt(_))) => error,
        Err(_) => return Ok(None),
    };
    let owner = match &open.owner {
        Some(owner) => owner.clone(),
        // Freed: no stripe named it, or none does any more.
        None if matches!(error, DriveError::NotFound) => return Ok(Some(FindingState::Repaired)),
        None => match identify(inner, &drive, copy.1).await? {
            Identity::Unknown => {
                tell(inner, copy, open, None, &error).await;
                return Ok(give_up(inner, copy, open).await);
            }
            Identity::Nobody => return Ok(Some(FindingState::Repaired)),
            Identity::Owner(owner) => *owner,
        },
    };
    let Some(stripe) = named(inner, &owner, copy).await? else {
        return Ok(Some(FindingState::Repaired));
    };
    tell(inner, copy, open, Some(&owner), &error).await;
    inner.report(&owner.at, &stripe, owner.index, &error);
    Ok(None)
}

/// Frees a copy that does not say whose it is, where every map was searched since it was found and
/// no stripe names it: a dead one, or an orphan, which the collectors know by their headers alone.
/// Nothing could be lost by it, named or not: no reader gets anything of a record without a header.
async fn give_up(inner: &Inner, (drive, token): Copy, open: &Open) -> Option<FindingState> {
    let nobodys = open.search == Search::InVain && inner.free(&[Slot { drive, token }]).await;
    nobodys.then(|| {
        tracing::info!(%drive, place = ?open.place, "a damaged record that no stripe names was freed");
        FindingState::Repaired
    })
}

enum Identity {
    /// Its header does not read, or speaks of what cannot be looked up.
    Unknown,
    /// No stripe names it: it is dead, or an orphan, and will be freed.
    Nobody,
    Owner(Box<Owner>),
}

async fn identify(inner: &Inner, drive: &Drive, token: CopyToken) -> Result<Identity, EngineError> {
    let read = drive.store.read(token, 0..0);
    let header: ShardHeader = match inner.drives.run(drive, "scrub", read).await {
        Ok(shard) => shard.header,
        Err(DriveError::NotFound) => return Ok(Identity::Nobody),
        Err(_) => return Ok(Identity::Unknown),
    };
    let (bucket, key) = shard_place(&header.owner);
    let at = StripeAt {
        partition: header.partition,
        bucket,
        key,
        data: header.data,
        stripe: header.stripe,
    };
    let index = header.index;
    let owner = Owner { at, index };
    let copy = (drive.row.id, token);
    Ok(match named(inner, &owner, copy).await? {
        Some(_) => Identity::Owner(Box::new(owner)),
        None => Identity::Nobody,
    })
}

/// The owner's stripe, if it names the copy as that shard.
pub(super) async fn named(
    inner: &Inner,
    owner: &Owner,
    (drive, token): Copy,
) -> Result<Option<Stripe>, EngineError> {
    let stripe = stripe_map::current(inner, &owner.at).await?;
    let copy = Slot { drive, token };
    let names = |stripe: &Stripe| {
        stripe
            .slots
            .get(usize::from(owner.index))
            .copied()
            .flatten()
            == Some(copy)
    };
    match stripe.filter(names) {
        Some(stripe) if !is_dead(inner, &owner.at).await? => Ok(Some(stripe)),
        _ => Ok(None),
    }
}

/// Whether a part was replaced or deleted: its rows stay until its copies are freed, and nothing is
/// gained by making those anew.
async fn is_dead(inner: &Inner, at: &StripeAt) -> Result<bool, EngineError> {
    // The first dead thing behind the id before the part's.
    let before = u128::from_be_bytes(at.data.0).saturating_sub(1);
    let query = Query::Dead {
        after: Some((at.bucket, at.key.clone(), before.to_be_bytes())),
        before: FOREVER,
        limit: 1,
    };
    let Reply::Dead(rows) = inner.ask(at.partition, query).await? else {
        return Err(EngineError::unexpected("Dead"));
    };
    Ok(rows.first().is_some_and(|(bucket, key, row)| {
        *bucket == at.bucket && *key == at.key && row.thing == DeadThing::Part(at.data)
    }))
}

/// Bucket and key as people know them.
pub(super) async fn object_name(inner: &Inner, at: &StripeAt) -> (String, String) {
    if at.bucket == PACKS {
        return ("(pack of small objects)".into(), at.key.to_string());
    }
    let bucket = match inner.ask(at.partition, Query::Bucket(at.bucket)).await {
        Ok(Reply::Bucket(Some(row))) => row.name.to_string(),
        _ => format!("bucket {}", at.bucket),
    };
    (bucket, at.key.to_string())
}

/// Tells of a damaged copy, once, and again when it is known whose it is.
async fn tell(
    inner: &Inner,
    (drive, token): Copy,
    open: &Open,
    owner: Option<&Owner>,
    error: &DriveError,
) {
    let object = match owner {
        Some(owner) => Some(object_name(inner, &owner.at).await),
        None => None,
    };
    let shard = owner.map(|owner| (owner.at.stripe, owner.index));
    let state = if owner.is_some() {
        FindingState::Queued
    } else {
        FindingState::Searched
    };
    inner.scrub.board(|board| {
        if let Some(open) = board.open.get_mut(&(drive, token)) {
            open.owner = owner.cloned();
        }
        if let Some(told) = board.finding(drive, token)
            && matches!(told.state, FindingState::Searched | FindingState::Queued)
        {
            if told.object.is_none() && object.is_some() {
                let key = object.clone();
                tracing::warn!(%drive, place = ?told.place, object = ?key, "damage found before belongs to");
                (told.object, told.shard, told.state) = (object, shard, state);
            }
            return;
        }
        board.tell(Finding {
            found: inner.clock.unix_ms(),
            drive,
            place: open.place,
            token: Some(token),
            object,
            shard,
            kind: FindingKind::Damaged,
            state,
            reason: error.to_string(),
        });
    });
}

const _: () = assert!(
    (Duration::from_secs(1).as_secs() * (AGAIN_PERIODS as u64)) << AGAIN_DOUBLINGS_MOST < 600,
    "what cannot be repaired is looked at every ten minutes at least"
);
