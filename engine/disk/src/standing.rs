//! Whether a drive works, and whether people are told when it does not.

use engine_core::ports::DriveError;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of one opened root.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    failure: OnceLock<String>,
    admitted: AtomicBool,
}

impl Standing {
    /// The drive is in service: from now on its failure is told. Whoever only tries a drive, each
    /// second perhaps, tells himself, because he knows whether that is news.
    pub(crate) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// The first reason stays.
    pub(crate) fn fail(&self, path: &Path, reason: &str) {
        let news = self.failure.set(reason.to_owned()).is_ok();
        if news && self.admitted.load(Ordering::Relaxed) {
            tracing::error!(path = %path.display(), reason, "drive out of service");
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Err once it has failed.
    pub(crate) fn working(&self) -> Result<(), DriveError> {
        self.failure()
            .map_or(Ok(()), |reason| Err(DriveError::Failed(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Counts what is told.
    struct Told(Arc<AtomicUsize>);

    impl Subscriber for Told {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_drive_that_is_only_tried_fails_in_silence_and_one_in_service_is_told_of_once() {
        let told = Arc::new(AtomicUsize::new(0));
        tracing::subscriber::with_default(Told(Arc::clone(&told)), || {
            let tried = Standing::default();
            tried.fail(Path::new("/d/1"), "EIO");
            assert!(tried.working().is_err());
            assert_eq!(told.load(Ordering::Relaxed), 0);
            let served = Standing::default();
            served.admit();
            served.fail(Path::new("/d/2"), "EIO");
            served.fail(Path::new("/d/2"), "gone");
            assert_eq!(served.failure().as_deref(), Some("EIO"));
        });
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }
}
