//! The ordered end of the process: signal → not ready → stop accepting → drain → cut → engine.

use std::time::Duration;
use tokio::sync::watch;

/// Told to every part that must end; cloned freely.
#[derive(Clone, Debug)]
pub(crate) struct Ending(watch::Receiver<bool>);

/// Starts the end.
#[derive(Debug)]
pub(crate) struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    pub(crate) fn new() -> (Self, Ending) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Ending(receiver))
    }

    /// From now on [`Ending::begun`] answers.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Ending {
    /// Waits until the end has begun.
    pub(crate) async fn begun(&mut self) {
        // A dropped sender is the end as well.
        let _gone = self.0.wait_for(|ending| *ending).await;
    }
}

/// SIGTERM or SIGINT.
pub(crate) async fn signalled() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}

/// Connections cut at the end of the drain get this long to notice.
pub(crate) const CUT_GRACE: Duration = Duration::from_secs(2);
