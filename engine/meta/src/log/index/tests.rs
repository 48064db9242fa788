//! Counts, bounds, what is held, the cache.

use super::*;
use openraft::EntryPayload;

fn filled(indexes: Range<u64>) -> GroupState {
    let mut state = GroupState::default();
    for index in indexes {
        let id = log_id(1, index);
        let entry = Entry {
            log_id: id,
            payload: EntryPayload::Blank,
        };
        state.check_next(&id).expect("contiguous");
        let place = Some(Place {
            file: index,
            offset: 0,
            span: 8,
        });
        state.push(entry, Slot::new(1, index, place), 8);
    }
    state
}

#[test]
fn holes_and_falling_terms_are_refused() {
    let state = filled(0..3);
    assert!(state.check_next(&log_id(1, 3)).is_ok());
    assert!(state.check_next(&log_id(1, 4)).is_err());
    assert!(state.check_next(&log_id(1, 2)).is_err());
    assert!(state.check_next(&log_id(0, 3)).is_err());
}

#[test]
fn purge_and_truncate_keep_counts_right() {
    let mut state = filled(0..10);
    state.purge(log_id(1, 3));
    assert_eq!(
        (state.first, state.slots.len(), state.last()),
        (4, 6, Some(log_id(1, 9)))
    );
    assert_eq!(state.oldest_file(), Some(4));
    state.vote_file = Some(2);
    assert_eq!(state.oldest_file(), Some(2));
    state.truncate_after(Some(5));
    assert_eq!((state.next(), state.last()), (6, Some(log_id(1, 5))));
    state.purge(log_id(1, 20));
    assert_eq!(
        (state.next(), state.last(), state.cached_bytes),
        (21, Some(log_id(1, 20)), 0)
    );
    state.truncate_after(None);
    assert_eq!(state.last(), Some(log_id(1, 20)));
}

#[test]
fn a_purge_below_what_begins_further_up_renumbers_nothing() {
    let mut state = filled(192..224);
    state.purge(log_id(1, 127));
    assert_eq!((state.first, state.next()), (192, 224));
    assert_eq!(state.purged, Some(log_id(1, 127)));
    assert!(state.check_next(&log_id(1, 224)).is_ok());
    state.purge(log_id(1, 191));
    assert_eq!((state.first, state.next()), (192, 224));
    state.purge(log_id(1, 200));
    assert_eq!((state.first, state.next()), (201, 224));
    let front = state.slots.front().and_then(Slot::place);
    assert_eq!(front.map(|place| place.file), Some(201));
}

#[test]
fn what_is_dropped_holds_its_file_until_that_is_durable() {
    let mut state = filled(2..10);
    state.hold(11, false);
    state.purge(log_id(1, 5));
    assert_eq!(
        (state.oldest_file(), state.keeps(2)),
        (Some(2), Some(Keeps::Records))
    );
    assert!(!state.is_frozen());
    state.hold(12, true);
    state.truncate_after(Some(7));
    state.hold(13, false);
    state.purge(log_id(1, 7));
    assert!(state.is_frozen(), "by the truncation among them");
    state.settle(12);
    assert_eq!(state.oldest_file(), Some(2), "the last is not durable");
    state.settle(13);
    assert_eq!((state.oldest_file(), state.is_frozen()), (None, false));
    state.hold(14, false);
    assert_eq!(state.held, None, "nothing was there to drop");
}

#[test]
fn what_is_dropped_before_it_is_written_holds_every_file() {
    let mut state = filled(2..10);
    for slot in &mut state.slots {
        *slot = Slot::new(slot.term, 0, None);
    }
    state.hold(11, false);
    state.purge(log_id(1, 20));
    assert_eq!(state.keeps(1), Some(Keeps::Records));
    state.settle(11);
    assert_eq!(state.keeps(1), None);
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_not_written() {
    let mut state = GroupState::default();
    for index in 0..40 {
        let id = log_id(1, index);
        let command = vec![0; CACHE_BYTES_MAX / 16].into();
        let payload = EntryPayload::Normal(crate::raft::types::Proposal { stamp: 0, command });
        let place = (index < 30).then_some(Place {
            file: 1,
            offset: index,
            span: 8,
        });
        let entry = Entry {
            log_id: id,
            payload,
        };
        state.push(entry, Slot::new(1, index, place), 0);
    }
    state.trim_cache();
    assert!(state.cached_bytes <= CACHE_BYTES_MAX);
    assert!(matches!(
        state.find(0..1).expect("there").as_slice(),
        [Found::At(_)]
    ));
    assert!(matches!(
        state.find(39..40).expect("there").as_slice(),
        [Found::Cached(_)]
    ));
    // What has left the cache goes first, then what is in it, and the count with each.
    assert!(state.cached(0).is_none() && state.cached(39).is_some());
    let cached = state.cached_bytes;
    state.purge(log_id(1, 0));
    assert_eq!(state.cached_bytes, cached);
    state.truncate_after(Some(38));
    assert!(state.cached(39).is_none() && state.cached_bytes < cached);
    state.purge(log_id(1, 37));
    assert_eq!(state.cached(38).map(|entry| entry.log_id.index()), Some(38));
    state.purge(log_id(1, 38));
    assert_eq!((state.cached_bytes, state.slots.len()), (0, 0));
}

#[test]
fn little_of_the_memory_is_unused_and_what_is_purged_gives_it_back() {
    let spare = |state: &GroupState| state.slots.capacity() - state.slots.len();
    let mut state = filled(0..100_000);
    assert!(spare(&state) <= 100_000 / 8 + 64, "{}", spare(&state));
    state.purge(log_id(1, 99_899));
    assert!(spare(&state) <= 100, "{}", spare(&state));
}
