//! The admin listener: liveness, readiness and metrics for everybody, the rest signed by root.
//!
//! In reading order: `shapes` (what is sent and taken), `auth` (who is believed), `port` (its
//! connections), `routes` (the way of a request), then a file for each noun. docs/ADMIN.md is its reference.

mod auth;
mod departures;
mod drives;
mod error;
mod health;
mod keyring;
mod keys;
mod layout;
mod metrics;
mod object;
mod port;
mod routes;
pub(crate) mod scrub;
pub(crate) mod shapes;
mod status;
mod work;

use crate::config::Config;
use crate::meta_scrub::MetaScrub;
use crate::shelf::Shelf;
use crate::shutdown::Ending;
use crate::store::Store;
use engine_meta::metadata::Replicated;
use engine_node::{Credential, Engine};
use engine_types::BootId;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

pub(crate) use auth::{SERVICE, percent};
pub(crate) use error::ErrorBody;
pub(crate) use health::{Health, Phase};
pub(crate) use port::ADMIN_CONNECTIONS_MAX;

/// Histograms are drained so often, whether or not somebody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the open store gives the API.
pub(crate) struct Running {
    engine: Engine,
    metadata: Replicated,
    shelf: Arc<Shelf>,
    boot: BootId,
    /// Without the accounts: their secrets have no business here.
    config: Config,
    since: Instant,
    /// Who signed last, for when control cannot be read.
    signer: parking_lot::Mutex<Option<(Instant, Arc<Credential>)>>,
    /// Who changes the layout holds it.
    layout: tokio::sync::Mutex<()>,
    meta_scrub: MetaScrub,
}

/// What the admin listener serves from.
#[derive(Clone)]
pub(crate) struct Admin {
    health: Arc<Health>,
    metrics: PrometheusHandle,
    region: String,
    running: Arc<OnceLock<Running>>,
}

impl Admin {
    pub(crate) fn new(health: Arc<Health>, metrics: PrometheusHandle, region: &str) -> Self {
        metrics::describe();
        Self {
            health,
            metrics,
            region: region.into(),
            running: Arc::default(),
        }
    }

    /// The store is open: from now on signed requests are answered.
    pub(crate) fn attach(&self, store: &Store, config: &Config) {
        let running = Running {
            engine: store.engine.clone(),
            metadata: store.metadata.clone(),
            shelf: Arc::clone(&store.shelf),
            boot: store.boot,
            config: Config {
                accounts: Vec::new(),
                ..config.clone()
            },
            since: Instant::now(),
            signer: parking_lot::Mutex::default(),
            layout: tokio::sync::Mutex::default(),
            meta_scrub: MetaScrub::default(),
        };
        // Once a process; a second call would change nothing.
        let _first = self.running.set(running);
        let scrubbing = Arc::clone(&self.running);
        tokio::spawn(async move {
            if let Some(running) = scrubbing.get() {
                running
                    .meta_scrub
                    .run(&running.shelf, &running.metadata)
                    .await;
            }
        });
        let running = Arc::clone(&self.running);
        tokio::spawn(async move {
            if let Some(running) = running.get() {
                departures::watch(running).await;
            }
        });
    }

    /// Serves until `ending` begins. Up before the engine, so that readiness can say what is missing.
    pub(crate) async fn serve(self, socket: TcpListener, ending: Ending) {
        let handle = self.metrics.clone();
        let upkeep = async move {
            let mut tick = tokio::time::interval(UPKEEP);
            loop {
                tick.tick().await;
                handle.run_upkeep();
            }
        };
        tokio::select! {
            () = port::serve(self, socket, ending) => {}
            () = upkeep => {}
        }
    }
}
