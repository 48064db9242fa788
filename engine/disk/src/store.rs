//! The shard store of one drive: wires appender, reclaimer, index and reads together.

use crate::aligned::Pool;
use crate::append::{Answer, Appender, Op};
use crate::asked::Asked;
use crate::drive_dir::DriveDir;
use crate::headers::Headers;
use crate::index::Index;
use crate::options::{Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::reclaim;
use crate::recover::{Recovery, recover};
use crate::room::Room;
use crate::segment::{ALIGN, SEGMENTS, Segments};
use crate::space::Space;
use async_trait::async_trait;
use bytes::Bytes;
use engine_core::format::{ShardHeader, block_checksums};
use engine_core::ports::{
    DriveError, DriveFiles, DriveUsage, FooterCheck, SegmentCheck, SegmentUse, ShardEntry,
    ShardStore, SpaceAccount, StoredShard,
};
use engine_types::{CopyToken, Stamp};
use parking_lot::{Condvar, Mutex};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// How long closing waits for a drive that may hang.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether its threads have ended.
const GLANCE: Duration = Duration::from_millis(10);

/// Tokens that one call of `free` hands to the drive at a time.
pub(crate) const FREES_MAX: usize = 4096;

/// What the threads of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) files: DriveDir,
    pub(crate) options: Options,
    pub(crate) segments: Segments,
    pub(crate) index: Index,
    pub(crate) space: Mutex<Space>,
    pub(crate) room: Room,
    pub(crate) pool: Arc<Pool>,
    pub(crate) headers: Headers,
    pub(crate) asked: Asked,
    /// Held while a segment gets a new footer: two would go to the same place.
    pub(crate) resealing: Mutex<()>,
    pub(crate) wake: Wake,
}

/// How the reclaimer is woken.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    pub(crate) state: Mutex<WakeState>,
    pub(crate) changed: Condvar,
}

/// Why it was woken.
#[derive(Debug, Default)]
pub(crate) struct WakeState {
    pub(crate) work: bool,
    pub(crate) closed: bool,
}

impl Shared {
    pub(crate) fn wake_reclaimer(&self) {
        self.wake.state.lock().work = true;
        self.wake.changed.notify_all();
    }

    fn end_reclaimer(&self) {
        self.wake.state.lock().closed = true;
        self.wake.changed.notify_all();
    }
}

/// Shards of one drive, in segments.
///
/// Dropped without [`ShardStore::close`] it loses nothing that was acknowledged.
#[derive(Debug)]
pub struct SegmentStore {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Op>>>,
    reads: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Closing it was given up once.
    hangs: AtomicBool,
}

impl SegmentStore {
    /// Opens (or makes) the shard store of a drive and recovers what a crash left. Blocking, for as
    /// long as the drive takes to read what its index lacks.
    ///
    /// # Errors
    /// `Failed` when the drive errs, or holds what a newer release wrote.
    pub fn open(files: DriveDir, options: Options) -> Result<(Self, Recovery), DriveError> {
        let segment = options
            .segment_bytes
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let options = Options {
            segment_bytes: segment / ALIGN * ALIGN,
            queue: options.queue.max(1),
            readers: options.readers.max(1),
            ..options
        };
        files.root().make_directories(SEGMENTS)?;
        let segments = Segments::new(files.root(), files.uuid());
        let recovered = recover(&files, &segments, &options)?;
        let report = recovered.report;
        tracing::info!(drive = %files.uuid(), ?report, "shard store open");
        let room = Room::default();
        room.refresh(files.root(), &options)?;
        let shared = Arc::new(Shared {
            files,
            options,
            segments,
            index: recovered.index,
            space: Mutex::new(recovered.space),
            room,
            pool: Arc::new(Pool::default()),
            headers: Headers::default(),
            asked: Asked::default(),
            resealing: Mutex::new(()),
            wake: Wake::default(),
        });
        shared.wake_reclaimer();
        let (sender, receiver) = mpsc::channel(options.queue);
        let appender = Appender::new(Arc::clone(&shared), recovered.frees, recovered.next_segment);
        let this = Self {
            queue: Mutex::new(Some(sender)),
            reads: Arc::new(Semaphore::new(options.readers)),
            threads: Mutex::new(Vec::new()),
            hangs: AtomicBool::new(false),
            shared: Arc::clone(&shared),
        };
        this.start("append", move || appender.run(receiver))?;
        this.start("reclaim", move || reclaim::run(&shared))?;
        Ok((this, report))
    }

    fn start(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), DriveError> {
        let name = format!("{name}-{}", self.shared.files.drive());
        let started = std::thread::Builder::new().name(name).spawn(body);
        let handle =
            started.map_err(|error| DriveError::Failed(format!("start a thread: {error}")))?;
        self.threads.lock().push(handle);
        Ok(())
    }

    /// The drive's files.
    pub fn files(&self) -> &DriveDir {
        &self.shared.files
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs `work` on a blocking thread, a few at a time. A caller that goes away leaves the work
    /// to end by itself, still counted.
    async fn read_side<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, DriveError> + Send + 'static,
    ) -> Result<T, DriveError> {
        let Ok(permit) = Arc::clone(&self.reads).acquire_owned().await else {
            return Err(closed());
        };
        self.shared.files.root().working()?;
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&shared);
            drop(shared);
            drop(permit);
            done
        });
        done.await
            .map_err(|error| DriveError::Failed(format!("read task: {error}")))?
    }

    /// Asks the appender.
    async fn ask(&self, op: impl FnOnce(Answer) -> Op) -> Result<(), DriveError> {
        self.shared.files.root().working()?;
        let queue = self.queue.lock().clone().ok_or_else(closed)?;
        let (to, answer) = oneshot::channel();
        queue.send(op(to)).await.map_err(|_gone| closed())?;
        drop(queue);
        answer.await.map_err(|_gone| closed())?
    }

    /// Closes; false where the threads have not ended by then.
    pub(crate) async fn close_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        if self.queue.lock().is_some() {
            let drive = self.shared.files.uuid();
            match timeout_at(until, self.ask(Op::Close)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%drive, %error, "close shard store"),
                Err(late) => tracing::warn!(%drive, %late, "close shard store"),
            }
        }
        self.queue.lock().take();
        self.reads.close();
        self.shared.end_reclaimer();
        while !self.threads.lock().iter().all(JoinHandle::is_finished) {
            if Instant::now() >= until {
                self.hangs.store(true, Ordering::Relaxed);
                return false;
            }
            tokio::time::sleep(GLANCE).await;
        }
        self.join();
        true
    }

    fn join(&self) {
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                self.shared
                    .files
                    .fail("a thread of the shard store panicked");
            }
        }
    }
}

fn closed() -> DriveError {
    DriveError::Failed("shard store closed".to_owned())
}

/// What arrives must be what its sender described, before it is promised to be kept.
fn check(files: &DriveDir, header: &ShardHeader, payload: &Bytes) -> Result<(), DriveError> {
    if header.drive != files.uuid() {
        let text = format!("shard for drive {} came to {}", header.drive, files.uuid());
        return Err(DriveError::Corrupt(text));
    }
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if length != header.payload_length || block_checksums(payload) != header.block_crcs {
        return Err(DriveError::Corrupt(
            "payload is not what the header says".to_owned(),
        ));
    }
    let mut encoded = Vec::new();
    header
        .encode(&mut encoded)
        .map_err(|error| DriveError::Corrupt(error.to_string()))
}

#[async_trait]
impl ShardStore for SegmentStore {
    async fn append(&self, header: ShardHeader, payload: Bytes) -> Result<(), DriveError> {
        check(&self.shared.files, &header, &payload)?;
        self.ask(|to| Op::Append(Box::new(header), payload, to))
            .await
    }

    async fn read(&self, token: CopyToken, range: Range<u32>) -> Result<StoredShard, DriveError> {
        self.read_side(move |shared| shared.read(token, &range))
            .await
    }

    async fn free(&self, tokens: &[CopyToken]) -> Result<(), DriveError> {
        for some in tokens.chunks(FREES_MAX) {
            self.ask(|to| Op::Free(some.to_vec(), to)).await?;
        }
        Ok(())
    }

    async fn entries(
        &self,
        after: Option<CopyToken>,
        before: Stamp,
        limit: usize,
    ) -> Result<Vec<ShardEntry>, DriveError> {
        self.read_side(move |shared| shared.index.entries(after, before, limit))
            .await
    }

    async fn verify(&self, token: CopyToken) -> Result<ShardHeader, DriveError> {
        self.read_side(move |shared| shared.verify(token)).await
    }

    fn segments(&self) -> Vec<SegmentUse> {
        self.shared.uses()
    }

    async fn placed(&self, from: (u64, u64), limit: usize) -> Result<Vec<ShardEntry>, DriveError> {
        self.read_side(move |shared| shared.placed(from, limit))
            .await
    }

    async fn absent(&self, tokens: &[CopyToken]) -> Result<Vec<CopyToken>, DriveError> {
        let tokens = tokens.to_vec();
        self.read_side(move |shared| shared.absent(&tokens)).await
    }

    async fn check_segment(&self, segment: u64) -> Result<SegmentCheck, DriveError> {
        let check = self
            .read_side(move |shared| shared.check_segment(segment))
            .await?;
        if matches!(check.footer, FooterCheck::Damaged | FooterCheck::Written) {
            self.ask(|to| Op::Reseal(segment, to)).await?;
        }
        Ok(check)
    }

    async fn account(&self) -> Result<SpaceAccount, DriveError> {
        self.read_side(Shared::account).await
    }

    fn usage(&self) -> DriveUsage {
        let (live, written) = self.shared.space.lock().totals();
        DriveUsage {
            capacity: self.shared.room.capacity(),
            available: self.shared.room.available(),
            live,
            written,
        }
    }

    async fn close(&self) -> bool {
        self.close_within(CLOSED_WITHIN).await
    }
}

impl Drop for SegmentStore {
    fn drop(&mut self) {
        self.queue.lock().take();
        self.shared.end_reclaimer();
        // A drive that hangs must not hold whoever drops this; its threads hold what they need.
        if *self.hangs.get_mut() {
            self.threads.get_mut().retain(JoinHandle::is_finished);
        }
        self.join();
    }
}
