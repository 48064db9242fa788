//! Where one unpurged entry lies, in few bytes: a partition has one for each command since its older
//! snapshot, on every voter.

/// Where a record's payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// File number.
    pub file: u64,
    /// Byte offset of the record.
    pub offset: u64,
    /// Bytes of the record, header and padding included; never 0.
    pub span: u32,
}

/// One unpurged entry.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its term.
    pub term: u64,
    file: u64,
    offset: u64,
    /// 0 until written.
    span: u32,
    /// The low half of it.
    ticket: u32,
}

const _: () = assert!(size_of::<Slot>() == 32, "millions of them are in memory");

fn low(ticket: u64) -> u32 {
    u32::try_from(ticket & u64::from(u32::MAX)).unwrap_or(0)
}

impl Slot {
    /// Of an entry that the group's operation `ticket` writes, or has written to `place`.
    pub fn new(term: u64, ticket: u64, place: Option<Place>) -> Self {
        let mut slot = Self {
            term,
            file: 0,
            offset: 0,
            span: 0,
            ticket: low(ticket),
        };
        if let Some(place) = place {
            slot.set_place(place);
        }
        slot
    }

    /// Where it lies; none until written.
    pub fn place(&self) -> Option<Place> {
        let Self {
            file, offset, span, ..
        } = *self;
        (span > 0).then_some(Place { file, offset, span })
    }

    /// It was written, or moved.
    pub fn set_place(&mut self, place: Place) {
        (self.file, self.offset, self.span) = (place.file, place.offset, place.span);
    }

    /// Which operation of the group wrote it, of which `last` was the last; durable once the group's mark
    /// reaches it. No entry is older than 2^32 operations: each has its record in the log.
    pub fn ticket(&self, last: u64) -> u64 {
        last.saturating_sub(u64::from(low(last).wrapping_sub(self.ticket)))
    }

    /// Whether the operation `ticket` wrote it.
    pub fn is_of(&self, ticket: u64) -> bool {
        self.ticket == low(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_told_by_their_low_half() {
        let wrap = 1_u64 << 32;
        for ticket in [0, 1, wrap - 1, wrap, wrap + 1, 5 * wrap + 7] {
            let slot = Slot::new(1, ticket, None);
            for later in [0, 1, 2, wrap - 1] {
                assert_eq!(slot.ticket(ticket + later), ticket, "{ticket} {later}");
            }
            assert!(slot.is_of(ticket) && !slot.is_of(ticket + 1));
        }
    }

    #[test]
    fn a_place_is_kept_whole() {
        let place = Place {
            file: u64::MAX,
            offset: u64::MAX - 1,
            span: u32::MAX,
        };
        let mut slot = Slot::new(3, 1, None);
        assert_eq!(slot.place(), None);
        slot.set_place(place);
        assert_eq!((slot.place(), slot.term), (Some(place), 3));
    }
}
