//! Drives that go out of service and come back.
//!
//! A drive is in, or out; and while it is out it may be being opened, or let go. Both take as long as the
//! drive does, which may hang for ever, so neither is done under a lock: whoever does it has the
//! drive's [`Hold`], of which there is one, because a log has one writer. What is decided (in, out,
//! still wanted) is decided in a moment, under the lock of [`Inner::hosts`]. So a drive that hangs holds
//! up nobody else: the next that fails goes out, and the node ends.

use super::backoff::Backoff;
use super::closing::{STOP_WITHIN, close};
use super::host::{self, Running};
use super::{Inner, MetaNode};
use crate::blocking::joined;
use crate::replica::ReplicaError;
use engine_core::ports::{DriveFiles, MetaError};
use engine_types::DriveId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long the end of the node waits for a drive in service to be let go: stopped, and its tables
/// written out.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
/// … and for one that is out to be opened or let go.
const LET_GO_WITHIN: Duration = Duration::from_secs(5);

/// Right to have a drive's log open. Dropped once it is closed.
#[derive(Debug)]
pub(super) struct Hold {
    _held: watch::Sender<()>,
}

/// A drive, in or out of service.
pub(super) struct Host {
    pub files: Arc<dyn DriveFiles>,
    pub state: HostState,
    /// Open as long as somebody opens the drive or lets it go.
    hold: watch::Receiver<()>,
}

pub(super) enum HostState {
    In(Arc<Running>),
    Out(Out),
}

/// A drive out of service.
#[derive(Debug)]
pub(super) struct Out {
    pub reason: String,
    /// The monotonic clock when it went out.
    pub since: Duration,
    /// Taken out by its owner, who alone puts it back.
    held: bool,
    /// It is being opened, and nobody has taken it out since.
    opening: bool,
    /// Openings that failed.
    retry: Backoff,
}

impl Out {
    fn new(reason: &str, since: Duration, held: bool) -> Self {
        Self {
            reason: reason.to_owned(),
            since,
            held,
            opening: false,
            retry: Backoff::default(),
        }
    }
}

impl Host {
    fn new(files: Arc<dyn DriveFiles>, out: Out) -> Self {
        let (_nobody, hold) = watch::channel(());
        Self {
            files,
            state: HostState::Out(out),
            hold,
        }
    }

    pub(super) fn running(&self) -> Option<&Arc<Running>> {
        match &self.state {
            HostState::In(running) => Some(running),
            HostState::Out(_) => None,
        }
    }

    fn is_held(&self) -> bool {
        self.hold.has_changed().is_ok()
    }

    /// Only where nobody has it.
    fn take_hold(&mut self) -> Hold {
        let (sender, hold) = watch::channel(());
        self.hold = hold;
        Hold { _held: sender }
    }
}

impl MetaNode {
    /// Takes a drive out of service now: leaderships handed over, replicas stopped. It stays out
    /// until [`MetaNode::drive_back`]. (A drive whose files or log report a failure goes out by
    /// itself, and comes back by itself when its files no longer do.)
    pub async fn drive_out(&self, drive: DriveId, reason: &str) {
        self.inner.drive_out(drive, reason).await;
    }

    /// Whether nothing of a drive that is out of service is open any more: its owner may let go of it.
    /// Waits a moment; false: ask again.
    pub async fn is_let_go(&self, drive: DriveId) -> bool {
        let hold = {
            let hosts = self.inner.hosts.read();
            let Some(host) = hosts.get(&drive) else {
                return true;
            };
            host.running().is_none().then(|| host.hold.clone())
        };
        match hold {
            Some(mut hold) => let_go(&mut hold, STOP_WITHIN).await,
            None => false,
        }
    }

    /// Puts a drive (back) into service: its replicas are reopened, those that the group has
    /// replaced meanwhile are forgotten by the supervisor. Where its log ends before what was durable
    /// when it went out, it is an older copy of itself: see [`MetaNode::drive_back_as`]. It takes as
    /// long as the drive does; whoever gives up waiting may ask again.
    ///
    /// # Errors
    /// `Unavailable` where it does not open, or is still opened or let go. It then stays out until
    /// it is put back again.
    pub async fn drive_back(&self, files: Arc<dyn DriveFiles>) -> Result<(), MetaError> {
        self.drive_back_as(files, super::Known::default()).await
    }
}

impl Inner {
    /// Takes a drive out of service, for its owner.
    pub(super) async fn drive_out(self: &Arc<Self>, drive: DriveId, reason: &str) {
        if let Some(handed_over) = self.take_out(drive, reason, true) {
            // Closed where the task has ended, which is as well.
            let _ended = handed_over.await;
        }
    }

    /// Takes a drive out of service at once: leaderships go first, then the rest, in a task of its
    /// own that says when its leaderships are handed over. None: it was out already.
    pub(super) fn take_out(
        self: &Arc<Self>,
        drive: DriveId,
        reason: &str,
        held: bool,
    ) -> Option<oneshot::Receiver<()>> {
        let out = Out::new(reason, self.clock.monotonic(), held);
        let (running, lease) = {
            let mut hosts = self.hosts.write();
            let host = hosts.get_mut(&drive)?;
            match &mut host.state {
                HostState::Out(out) => {
                    out.held |= held;
                    out.opening &= !held;
                    return None;
                }
                HostState::In(running) => {
                    let running = Arc::clone(running);
                    host.state = HostState::Out(out);
                    (running, host.take_hold())
                }
            }
        };
        // Whoever failed the drive has told people why.
        tracing::info!(%drive, reason, "the drive's replicas stop");
        let (tell, handed_over) = oneshot::channel();
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            inner.hand_all_over(&running).await;
            // Whoever asked may have gone.
            let _gone = tell.send(());
            close(&inner, running, false).await;
            drop(lease);
        });
        Some(handed_over)
    }

    /// Puts a drive into service: for its owner, who tries it again himself if it fails, or for the
    /// supervisor.
    pub(super) async fn drive_back(
        self: &Arc<Self>,
        files: Arc<dyn DriveFiles>,
        owner: bool,
    ) -> Result<(), MetaError> {
        let Some(hold) = self.begin_opening(&files)? else {
            return Ok(());
        };
        let inner = Arc::clone(self);
        // A task of its own: whoever asked may go away.
        let opening = tokio::spawn(async move {
            inner.bring_in(files, hold, owner).await?;
            inner.mend_logs().await;
            Ok(())
        });
        joined(opening).await
    }

    /// Opens a drive at the start of the node. One that does not open is out of service.
    pub(super) async fn open_drive(&self, files: Arc<dyn DriveFiles>) {
        let drive = files.drive();
        let opened = match self.begin_opening(&files) {
            Ok(Some(hold)) => self.bring_in(files, hold, false).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = opened {
            tracing::error!(%drive, %error, "drive does not open");
        }
    }

    /// The right to open a drive; none: it is in service.
    fn begin_opening(&self, files: &Arc<dyn DriveFiles>) -> Result<Option<Hold>, MetaError> {
        let now = self.clock.monotonic();
        let mut hosts = self.hosts.write();
        if self.is_closed() {
            return Err(MetaError::Closed);
        }
        let host = hosts.entry(files.drive()).or_insert_with(|| {
            let out = Out::new("it is being opened", now, false);
            Host::new(Arc::clone(files), out)
        });
        let held = host.is_held();
        match &mut host.state {
            HostState::In(_) => Ok(None),
            HostState::Out(out) if held => {
                let doing = if out.opening { "opened" } else { "let go" };
                let why = format!("the drive is still being {doing}");
                Err(MetaError::Unavailable(why))
            }
            HostState::Out(out) => {
                out.opening = true;
                host.files = Arc::clone(files);
                Ok(Some(host.take_hold()))
            }
        }
    }

    /// Opens a drive, and puts it into service if it is still wanted then.
    pub(super) async fn bring_in(
        &self,
        files: Arc<dyn DriveFiles>,
        hold: Hold,
        owner: bool,
    ) -> Result<(), MetaError> {
        let started = host::start(self, &files).await;
        let Err((running, error)) = self.swap_in(files.drive(), started, owner) else {
            drop(hold);
            return Ok(());
        };
        if let Some(running) = running {
            close(self, running, false).await;
        }
        drop(hold);
        Err(error)
    }

    /// What is not put in is given back: whoever opened it lets it go.
    fn swap_in(
        &self,
        drive: DriveId,
        started: Result<Arc<Running>, ReplicaError>,
        owner: bool,
    ) -> Result<(), (Option<Arc<Running>>, MetaError)> {
        let mut hosts = self.hosts.write();
        let closed = self.is_closed();
        let wanted = hosts.get_mut(&drive).map(|host| &mut host.state);
        let wanted = wanted.filter(|state| match state {
            HostState::Out(out) => out.opening && !closed,
            HostState::In(_) => false,
        });
        match (started, wanted) {
            (Ok(running), Some(state)) => {
                *state = HostState::In(running);
                Ok(())
            }
            (Err(error), Some(HostState::Out(out))) => {
                out.opening = false;
                out.held |= owner;
                out.reason = error.to_string();
                out.retry.again(self.clock.monotonic());
                Err((None, MetaError::Unavailable(error.to_string())))
            }
            (started, _) => {
                let meanwhile = MetaError::Unavailable("the drive was taken out meanwhile".into());
                let error = if closed { MetaError::Closed } else { meanwhile };
                Err((started.ok(), error))
            }
        }
    }

    /// Drives out of service whose owner has lifted their failure, or who did not open when they
    /// were tried last.
    pub(super) fn due_back(&self) -> Vec<Arc<dyn DriveFiles>> {
        let now = self.clock.monotonic();
        let hosts = self.hosts.read();
        let due = hosts.values().filter(|host| match &host.state {
            HostState::Out(out) => !out.held && !host.is_held() && out.retry.is_due(now),
            HostState::In(_) => false,
        });
        due.filter(|host| host.files.failure().is_none())
            .map(|host| Arc::clone(&host.files))
            .collect()
    }

    /// Takes a drive that runs out for a moment, with the right to open it again; none where it was
    /// taken out.
    pub(super) fn borrow_drive(&self, running: &Arc<Running>, reason: &str) -> Option<Hold> {
        let mut hosts = self.hosts.write();
        let host = hosts.get_mut(&running.parts.files.drive())?;
        if !Arc::ptr_eq(host.running()?, running) {
            return None;
        }
        let mut out = Out::new(reason, self.clock.monotonic(), false);
        out.opening = true;
        host.state = HostState::Out(out);
        Some(host.take_hold())
    }

    /// Forgets a drive that is out of service, once it is let go of; false: it is not yet, ask again.
    pub(super) async fn forget(&self, drive: DriveId) -> bool {
        let Some(mut hold) = self.hosts.read().get(&drive).map(|host| host.hold.clone()) else {
            self.found(drive);
            return true;
        };
        if !let_go(&mut hold, STOP_WITHIN).await {
            return false;
        }
        let mut hosts = self.hosts.write();
        let out = hosts.get(&drive).is_none_or(|host| {
            let out = matches!(host.state, HostState::Out(_));
            out && !host.is_held()
        });
        if out {
            hosts.remove(&drive);
            self.found(drive);
        }
        out
    }

    /// Lets a drive go at the end of the node, within bounds.
    pub(super) async fn end_drive(&self, drive: DriveId, mut host: Host) {
        let ended = match host.state {
            HostState::In(running) => {
                let closed = close(self, running, true);
                tokio::time::timeout(CLOSED_WITHIN, closed).await.is_ok()
            }
            HostState::Out(_) => let_go(&mut host.hold, LET_GO_WITHIN).await,
        };
        if !ended {
            tracing::warn!(%drive, "the drive hangs: it is left behind as it is");
        }
    }
}

/// Waits until nobody holds a drive any more.
async fn let_go(hold: &mut watch::Receiver<()>, within: Duration) -> bool {
    let dropped = async { while hold.changed().await.is_ok() {} };
    tokio::time::timeout(within, dropped).await.is_ok()
}
