//! The engine: its parts, start and shutdown.

use crate::EngineError;
use crate::accounts::CREDENTIAL_FRESH;
use crate::api::{Bucket, Credential};
use crate::births::Births;
use crate::buffers::{BUFFER_BUDGET_BYTES, Buffers, GRANT_WAIT};
use crate::cache::Cache;
use crate::compute::Compute;
use crate::damage::{DamageQueue, Reports};
use crate::drives::{Drives, SILENCE};
use crate::hash_lanes::HashLanes;
use crate::idle_read::{IdleReads, READ_IDLE};
use crate::keyring::Keyring;
use crate::lifecycle::Lifecycle;
use crate::pins::Pins;
use crate::proposals::PROPOSAL_PATIENCE;
use crate::read_ahead::ReadShare;
use crate::rebuild::{Rebuild, RebuildStatus};
use crate::scrub::{SCRUB_BYTES_PER_S_MIN, SCRUB_WITHIN, Scrub};
use crate::stripe_read::HEDGE_AFTER;
use crate::tasks;
use crate::tasks::orphans::CleanUp;
use crate::tasks::pack::{PACK_AGE, PACK_BYTES_MIN, PACK_WAIT};
use engine_core::meta::{ControlQuery, ControlReply};
use engine_core::placement::LayoutDrive;
use engine_core::ports::{Clock, DriveFiles, Entropy, Metadata, ShardStore};
use engine_types::{BootId, NodeId};
use std::sync::Arc;
use std::time::Duration;

/// What may be set. Plain data.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes of all stripe buffers. Less than a few stripes a core, and uploads wait for each other.
    pub buffer_bytes: usize,
    /// Longest wait for a buffer before `SlowDown`.
    pub grant_wait: Duration,
    /// A reader whose client takes nothing for so long lets go of what it has read, and reads it
    /// again later.
    pub read_idle: Duration,
    /// A drive that answers nothing for so long is out of service. Shorter than the slowest flush
    /// of a healthy drive, it takes healthy drives out.
    pub silence: Duration,
    /// After so long a shard's read is raced by a rebuild.
    pub hedge_after: Duration,
    /// How long a command is asked again before its outcome is unknown. Must stay well below the
    /// ten minutes that answers are kept.
    pub proposal_patience: Duration,
    /// Dead data stays for so long although no reader pins it. Shorter than a remote reader's way
    /// from row to shards, it cuts that reader off.
    pub gc_grace: Duration,
    /// Pause of the collector.
    pub gc_period: Duration,
    /// Pause between reports to the watermark; 60 s of silence fence this boot.
    pub report_period: Duration,
    /// Pause between looks at the drives.
    pub probe_period: Duration,
    /// Pause between looks for unfinished buckets.
    pub settle_period: Duration,
    /// Pause of the repairer.
    pub repair_period: Duration,
    /// Pause between looks whether stripes are to be brought elsewhere.
    pub rebuild_period: Duration,
    /// After so long all stripe maps are walked though nothing asks for it.
    pub walk_period: Duration,
    /// Pause between sweeps for orphans.
    pub orphan_period: Duration,
    /// Pause between two pieces of the scrub.
    pub scrub_period: Duration,
    /// In this time every shard is read once.
    pub scrub_within: Duration,
    /// … and no drive slower than this, bytes a second.
    pub scrub_bytes_per_s_min: u64,
    /// Pause between looks for sparse segments.
    pub empty_period: Duration,
    /// Small objects stay inline for so long before they are packed.
    pub pack_age: Duration,
    /// Pause between two looks for what is to be packed.
    pub pack_period: Duration,
    /// Sealed bytes of one class in one partition that are packed at once; fewer wait …
    pub pack_bytes_min: u64,
    /// … for so long.
    pub pack_wait: Duration,
    /// Whether background work runs; tests may go without.
    pub background: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            buffer_bytes: BUFFER_BUDGET_BYTES,
            grant_wait: GRANT_WAIT,
            read_idle: READ_IDLE,
            silence: SILENCE,
            hedge_after: HEDGE_AFTER,
            proposal_patience: PROPOSAL_PATIENCE,
            gc_grace: Duration::from_mins(1),
            gc_period: Duration::from_secs(10),
            report_period: Duration::from_secs(5),
            probe_period: Duration::from_secs(1),
            settle_period: Duration::from_secs(30),
            repair_period: Duration::from_secs(10),
            rebuild_period: Duration::from_secs(2),
            walk_period: Duration::from_hours(24),
            orphan_period: Duration::from_mins(1),
            scrub_period: Duration::from_secs(1),
            scrub_within: SCRUB_WITHIN,
            scrub_bytes_per_s_min: SCRUB_BYTES_PER_S_MIN,
            empty_period: Duration::from_mins(1),
            pack_age: PACK_AGE,
            pack_period: Duration::from_secs(10),
            pack_bytes_min: PACK_BYTES_MIN,
            pack_wait: PACK_WAIT,
            background: true,
        }
    }
}

/// A drive that is open here: its row, its shards, its files.
pub type OpenedDrive = (LayoutDrive, Arc<dyn ShardStore>, Arc<dyn DriveFiles>);

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineParts {
    /// This node.
    pub node: NodeId,
    /// This start of it: the count in the drives' marks, raised durably before.
    pub boot: BootId,
    /// Replicated metadata.
    pub metadata: Arc<dyn Metadata>,
    /// Secrets of key versions, opened.
    pub keyring: Arc<Keyring>,
    /// Drives that are open here; more come and go through [`Engine::drives`].
    pub drives: Vec<OpenedDrive>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Settings.
    pub options: EngineOptions,
}

/// The engine of this process; one a process, cheap to clone.
///
/// A call carries what it needs; nothing is read from globals. Reads and lists see every write
/// acknowledged before they began. Dropping a future of a write leaves no visible change, or the
/// whole one where the commit was already under way.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) drives: Arc<Drives>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) options: EngineOptions,
    pub(crate) buffers: Buffers,
    pub(crate) compute: Compute,
    pub(crate) hash_lanes: HashLanes,
    pub(crate) read_share: ReadShare,
    pub(crate) idle_reads: IdleReads,
    pub(crate) births: Arc<Births>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) damage: DamageQueue,
    pub(crate) scrub: Scrub,
    pub(crate) rebuild: Rebuild,
    pub(crate) clean_up: CleanUp,
    pub(crate) buckets: Cache<String, Bucket>,
    pub(crate) credentials: Cache<String, Option<Arc<Credential>>>,
    pub(crate) life: Lifecycle,
}

const _: () = assert!(
    CREDENTIAL_FRESH.as_millis() <= 2_000,
    "a changed key takes effect within 2 s"
);

impl Inner {
    /// Fresh entropy.
    pub(crate) fn entropy<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// Takes control's layout, if there is one.
    pub(crate) async fn read_layout(&self) -> Result<(), EngineError> {
        if let ControlReply::Layout(Some(layout)) = self.ask_control(ControlQuery::Layout).await? {
            self.drives.adopt(layout);
        }
        Ok(())
    }
}

impl Engine {
    /// Starts an engine on the current runtime. Control should be bootstrapped and have a leader;
    /// where it does not answer, the drives given are the layout until it does.
    pub async fn start(parts: EngineParts) -> Self {
        crate::metrics::describe();
        let options = parts.options;
        let drives = Drives::new(Arc::clone(&parts.clock), options.silence);
        for (row, store, files) in parts.drives {
            drives.add(row, store, files);
        }
        let inner = Arc::new(Inner {
            node: parts.node,
            boot: parts.boot,
            metadata: parts.metadata,
            keyring: parts.keyring,
            drives: Arc::new(drives),
            clock: parts.clock,
            entropy: parts.entropy,
            buffers: Buffers::new(options.buffer_bytes, options.grant_wait),
            compute: Compute::new(),
            hash_lanes: HashLanes::start(),
            read_share: ReadShare::new(),
            idle_reads: IdleReads::default(),
            births: Arc::default(),
            pins: Arc::default(),
            damage: DamageQueue::default(),
            scrub: Scrub::default(),
            rebuild: Rebuild::default(),
            clean_up: CleanUp::default(),
            buckets: Cache::default(),
            credentials: Cache::default(),
            life: Lifecycle::new(tokio::runtime::Handle::current()),
            options,
        });
        if let Err(error) = inner.read_layout().await {
            tracing::warn!(%error, "no layout from control yet");
        }
        // What was destroyed while this node was away is erased before anything is served.
        if let Err(error) = inner.settle_keyring().await {
            tracing::warn!(%error, "keyring not compared with control yet");
        }
        if inner.options.background {
            tasks::start(&inner);
        }
        Self { inner }
    }

    /// The drives: add, remove, status.
    pub fn drives(&self) -> &Drives {
        &self.inner.drives
    }

    /// Takes the layout as control has it now: after a change of it.
    pub async fn refresh_layout(&self) -> Result<(), EngineError> {
        self.inner.read_layout().await
    }

    /// How far rebuilding and re-striping are.
    pub fn rebuild_status(&self) -> RebuildStatus {
        self.inner.rebuild.status()
    }

    /// Has all stripe maps walked soon, whether or not anything asks for it.
    pub fn start_rebuild(&self) {
        self.inner.rebuild.ask();
    }

    /// Has what is dead freed now, as far as readers allow, and every drive gone over for copies that
    /// nothing names.
    pub fn start_clean_up(&self) {
        self.inner.clean_up.ask();
    }

    /// The keyring.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.inner.keyring
    }

    /// What readers find damaged, for whoever repairs: `None` where the engine's own background
    /// work has it. Once; bounded.
    pub fn damage(&self) -> Option<Reports> {
        self.inner.damage.take()
    }

    /// Ends background work and waits for it and for frees under way. Calls under way go on; the
    /// caller has drained them before. False: something did not end within `patience`.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        let ended = self.inner.life.shut_down(patience).await;
        if ended {
            tasks::scrub::end_in_order(&self.inner).await;
        }
        ended
    }
}
