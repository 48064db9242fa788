//! The version that was judged, for the handler that answers from it: one look instead of two, and
//! no other version than the one that was judged.

use engine_node::Found;
use engine_types::{ObjectKey, VersionId};
use std::sync::{Arc, Mutex, PoisonError};

/// A version looked at for the judgement, with where its bytes are. Taken once.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    asked: Option<VersionId>,
    found: Arc<Mutex<Option<Box<Found>>>>,
}

impl Seen {
    /// Operations that answer from what they are judged by.
    pub(super) const OPERATIONS: [&str; 2] = ["GetObject", "HeadObject"];

    pub(super) fn new(asked: Option<VersionId>, found: Box<Found>) -> Self {
        let found = Arc::new(Mutex::new(Some(found)));
        Self { asked, found }
    }

    /// The version, if it is the one that is `asked` for of `key`.
    pub(crate) fn take(&self, key: &ObjectKey, asked: Option<VersionId>) -> Option<Found> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |found: &mut Box<Found>| self.asked == asked && found.key == *key;
        found.take_if(fits).map(|found| *found)
    }
}
