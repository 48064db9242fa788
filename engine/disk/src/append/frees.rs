//! Frees, and when their log is shortened.

use super::Appender;
use crate::free_log::Rewrite;
use crate::shorten::Shortening;
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::CopyToken;
use std::collections::HashSet;

impl Appender {
    /// Frees shards, durably.
    pub(super) fn free(&mut self, tokens: &[CopyToken]) -> Result<(), DriveError> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for token in tokens {
            if seen.insert(*token)
                && let Some(place) = self.shared.index.get(*token)?
            {
                found.push((*token, place));
            }
        }
        if found.is_empty() {
            // All may have been freed by someone whose answer is on the way; but that was durable.
            return self.shared.files.root().working();
        }
        let records: Vec<_> = found
            .iter()
            .map(|(token, place)| (*token, place.segment))
            .collect();
        self.frees.append(&records)?;
        let mut batch = self.shared.index.batch();
        for (token, place) in &found {
            batch.remove(*token, *place);
        }
        batch.set_frees_applied(self.frees.mark());
        batch.commit()?;
        {
            let mut space = self.shared.space.lock();
            for (_, place) in &found {
                space.free(*place);
            }
        }
        self.shared.wake_reclaimer();
        Ok(())
    }

    /// Has a log that is long shortened, and takes it once that is done: behind a group, whose
    /// answers are given. Failing that, the log only stays long.
    pub(super) fn shorten_frees(&mut self) {
        let ended = match self.shortening.take_if(|shortening| shortening.is_done()) {
            Some(done) => done.end().and_then(|rewrite| self.take_over(rewrite)),
            None if self.shortening.is_none() && self.frees.is_long() => {
                let begun = self.frees.begin();
                let started = begun.and_then(|begun| Shortening::start(&self.shared, begun));
                started.map(|started| self.shortening = Some(started))
            }
            None => return,
        };
        if let Err(error) = ended {
            tracing::warn!(drive = %self.shared.files.uuid(), %error, "shorten the log of frees");
            self.frees.put_off();
        }
    }

    fn take_over(&mut self, rewrite: Rewrite) -> Result<(), DriveError> {
        self.frees.finish(rewrite)?;
        let mut batch = self.shared.index.batch();
        batch.set_frees_applied(self.frees.mark());
        batch.commit()
    }
}
