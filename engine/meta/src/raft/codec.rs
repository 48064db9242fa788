//! Entries as bytes (**format**): written by hand, because a serde derive copies a 16 KiB command
//! byte by byte and openraft's own layout is not ours to freeze.

use super::types::{Entry, Home, LogId, Proposal, Vote, log_id, term_of, vote};
use openraft::{EntryPayload, Membership};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that are not what this module wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct CodecError(pub &'static str);

/// Largest number of any count (terms, indexes, sequences, boots) in what is read from a drive. No
/// writer reaches it (one a nanosecond for 146 years); beyond it somebody else wrote, and one more
/// would overflow.
pub const COUNT_MAX: u64 = 1 << 62;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// The membership as stored: joint configurations, then every replica's home.
pub type MembershipParts = (Vec<BTreeSet<u64>>, BTreeMap<u64, Home>);

/// Appends `id` to `out`: term, index, little-endian.
pub fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    out.extend_from_slice(&term_of(id).to_le_bytes());
    out.extend_from_slice(&id.index().to_le_bytes());
}

/// Takes a little-endian number off the front.
pub fn take_u64(bytes: &mut &[u8]) -> Result<u64, CodecError> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(CodecError("number"))?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*head))
}

/// What [`put_log_id`] wrote.
pub fn take_log_id(bytes: &mut &[u8]) -> Result<LogId, CodecError> {
    let (term, index) = (take_u64(bytes)?, take_u64(bytes)?);
    if term.max(index) > COUNT_MAX {
        return Err(CodecError("log id"));
    }
    Ok(log_id(term, index))
}

/// An optional log id: one byte, then the id.
pub fn put_option_log_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    out.push(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

/// What [`put_option_log_id`] wrote.
pub fn take_option_log_id(bytes: &mut &[u8]) -> Result<Option<LogId>, CodecError> {
    let (flag, rest) = bytes.split_first().ok_or(CodecError("log id"))?;
    *bytes = rest;
    match flag {
        0 => Ok(None),
        1 => take_log_id(bytes).map(Some),
        _ => Err(CodecError("log id")),
    }
}

/// Appends a vote.
pub fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    out.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    out.push(u8::from(vote.committed));
}

/// What [`put_vote`] wrote.
pub fn take_vote(bytes: &mut &[u8]) -> Result<Vote, CodecError> {
    let (term, voted_for) = (take_u64(bytes)?, take_u64(bytes)?);
    let (flag, rest) = bytes.split_first().ok_or(CodecError("vote"))?;
    *bytes = rest;
    match flag {
        0 | 1 => Ok(vote(term, voted_for, *flag == 1)),
        _ => Err(CodecError("vote")),
    }
}

/// A membership's bytes.
#[expect(clippy::missing_panics_doc, reason = "it cannot")]
pub fn membership_bytes(membership: &Membership<u64, Home>) -> Vec<u8> {
    let nodes: BTreeMap<u64, Home> = membership.nodes().map(|(id, home)| (*id, *home)).collect();
    let parts: MembershipParts = (membership.get_joint_config().clone(), nodes);
    #[expect(
        clippy::expect_used,
        reason = "sized sets and maps to a growing Vec cannot fail"
    )]
    postcard::to_allocvec(&parts).expect("membership serialises")
}

/// What [`membership_bytes`] wrote.
pub fn membership_from(bytes: &[u8]) -> Result<Membership<u64, Home>, CodecError> {
    let (configs, nodes): MembershipParts =
        postcard::from_bytes(bytes).map_err(|_error| CodecError("membership"))?;
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_error| CodecError("membership"))
}

/// Appends `entry`: log id, kind, body.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => out.push(BLANK),
        EntryPayload::Normal(proposal) => {
            out.push(NORMAL);
            out.extend_from_slice(&proposal.stamp.to_le_bytes());
            out.extend_from_slice(&proposal.command);
        }
        EntryPayload::Membership(membership) => {
            out.push(MEMBERSHIP);
            out.extend_from_slice(&membership_bytes(membership));
        }
    }
}

/// Bytes [`put_entry`] writes for `entry`, near enough to bound a batch by.
pub fn entry_weight(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => 128 + proposal.command.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 512,
    }
}

/// What [`put_entry`] wrote; takes all of `bytes`.
pub fn entry_from(mut bytes: &[u8]) -> Result<Entry, CodecError> {
    let log_id = take_log_id(&mut bytes)?;
    let (kind, mut body) = bytes.split_first().ok_or(CodecError("entry"))?;
    let payload = match *kind {
        BLANK if body.is_empty() => EntryPayload::Blank,
        NORMAL => {
            let stamp = take_u64(&mut body)?;
            EntryPayload::Normal(Proposal {
                stamp,
                command: Arc::from(body),
            })
        }
        MEMBERSHIP => EntryPayload::Membership(membership_from(body)?),
        _ => return Err(CodecError("entry")),
    };
    Ok(Entry { log_id, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_round_trip(term in 0..=COUNT_MAX, index in 0..=COUNT_MAX, stamp: u64, command: Vec<u8>) {
            for payload in [
                EntryPayload::Blank,
                EntryPayload::Normal(Proposal { stamp, command: command.clone().into() }),
                EntryPayload::Membership(Membership::new_with_defaults(vec![BTreeSet::from([1, 2])], [])),
            ] {
                let entry = Entry { log_id: log_id(term, index), payload };
                let mut bytes = Vec::new();
                put_entry(&mut bytes, &entry);
                prop_assert_eq!(entry_from(&bytes), Ok(entry));
            }
        }

        #[test]
        fn malformed_bytes_are_refused_not_guessed(bytes: Vec<u8>) {
            if let Ok(entry) = entry_from(&bytes) {
                let mut again = Vec::new();
                put_entry(&mut again, &entry);
                prop_assert_eq!(entry_from(&again), Ok(entry));
            }
        }
    }

    #[test]
    fn counts_nobody_reached_are_refused() {
        for (index, good) in [(COUNT_MAX, true), (COUNT_MAX + 1, false), (u64::MAX, false)] {
            let mut bytes = Vec::new();
            put_log_id(&mut bytes, &log_id(1, index));
            assert_eq!(take_log_id(&mut bytes.as_slice()).is_ok(), good);
        }
    }

    #[test]
    fn votes_round_trip() {
        for committed in [false, true] {
            let mut bytes = Vec::new();
            put_vote(&mut bytes, &vote(7, 9, committed));
            assert_eq!(take_vote(&mut bytes.as_slice()), Ok(vote(7, 9, committed)));
        }
    }
}
