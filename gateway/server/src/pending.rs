//! What is done at paths whose drives may hang: a task a path, waited for no longer than a look.

use crate::keeper::LOOK;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// At most one task a path.
#[derive(Debug)]
pub(crate) struct Pending<T>(BTreeMap<PathBuf, JoinHandle<T>>);

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Send + 'static> Pending<T> {
    /// Begins work at a path; where some goes on there, that is gone on with.
    pub(crate) fn begin<F>(&mut self, path: &Path, work: impl FnOnce() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let going_on = self.0.entry(path.to_owned());
        going_on.or_insert_with(|| tokio::spawn(work()));
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// What came of the work at a path; none: it goes on, or there is none.
    pub(crate) async fn done(&mut self, path: &Path) -> Option<Result<T, String>> {
        let mut work = self.0.remove(path)?;
        match tokio::time::timeout(LOOK, &mut work).await {
            Ok(done) => Some(done.map_err(|ended| ended.to_string())),
            Err(_late) => {
                self.0.insert(path.to_owned(), work);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_hangs_holds_up_no_other_and_is_gone_on_with() {
        let mut pending = Pending::default();
        let (hangs, works) = (Path::new("/d/1"), Path::new("/d/2"));
        let (go_on, gate) = tokio::sync::oneshot::channel();
        pending.begin(hangs, || async move { gate.await.expect("told") });
        assert_eq!(pending.done(hangs).await, None);
        pending.begin(works, || async { 2 });
        assert_eq!(pending.done(works).await, Some(Ok(2)));
        assert!(pending.has(hangs) && !pending.has(works));
        pending.begin(hangs, || async { 3 });
        go_on.send(1).expect("it waits");
        assert_eq!(pending.done(hangs).await, Some(Ok(1)), "begun once");
        assert_eq!(pending.done(hangs).await, None, "there is none");
    }
}
