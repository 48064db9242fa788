//! Headers of shards that are being read piece by piece.
//!
//! Each piece is compared with its checksum, and the checksums stand in the header: without this every
//! piece but the first costs a second request to the drive, which takes as long as the first. A
//! record is written once and never changed, so a header that was verified stays true for as long as
//! the index names its place; scrubs do not ask here.

use crate::index::Place;
use engine_core::format::ShardHeader;
use engine_types::CopyToken;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Headers kept of one drive: below 2 KiB each.
const KEPT_MAX: usize = 1024;

/// Verified headers by copy.
#[derive(Debug, Default)]
pub(crate) struct Headers(Mutex<HashMap<CopyToken, (Place, ShardHeader)>>);

impl Headers {
    /// The header of the copy that lies at `place`.
    pub(crate) fn get(&self, token: CopyToken, place: Place) -> Option<ShardHeader> {
        let kept = self.0.lock();
        let (at, header) = kept.get(&token)?;
        (*at == place).then(|| header.clone())
    }

    /// Keeps a verified header.
    pub(crate) fn keep(&self, place: Place, header: &ShardHeader) {
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX && !kept.contains_key(&header.token) {
            // Any other will do: it costs its reader one request.
            let victim = kept.keys().next().copied();
            victim.map(|victim| kept.remove(&victim));
        }
        kept.insert(header.token, (place, header.clone()));
    }

    /// Lets go of a copy that did not read.
    pub(crate) fn forget(&self, token: CopyToken) {
        self.0.lock().remove(&token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_sim::contracts::shard_store::shard;
    use engine_types::DriveUuid;

    fn place(number: u64) -> Place {
        Place {
            segment: 1,
            offset: number * 4096,
            length: 4096,
        }
    }

    fn kept(headers: &Headers) -> usize {
        headers.0.lock().len()
    }

    #[test]
    fn a_header_is_kept_for_its_place_until_it_is_forgotten() {
        let (header, _) = shard(DriveUuid([1; 16]), 5, 1, 64);
        let headers = Headers::default();
        headers.keep(place(1), &header);
        assert_eq!(headers.get(header.token, place(1)), Some(header.clone()));
        assert_eq!(headers.get(header.token, place(2)), None, "moved meanwhile");
        headers.forget(header.token);
        assert_eq!(headers.get(header.token, place(1)), None);
    }

    #[test]
    fn one_more_than_are_kept_takes_the_place_of_another() {
        let headers = Headers::default();
        for number in 0..KEPT_MAX as u64 {
            headers.keep(place(number), &shard(DriveUuid([1; 16]), 5, number, 64).0);
        }
        assert_eq!(kept(&headers), KEPT_MAX);
        let (last, _) = shard(DriveUuid([1; 16]), 5, KEPT_MAX as u64, 64);
        headers.keep(place(9), &last);
        headers.keep(place(9), &last);
        assert_eq!(kept(&headers), KEPT_MAX);
        assert_eq!(headers.get(last.token, place(9)), Some(last));
    }
}
