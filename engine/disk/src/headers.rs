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
