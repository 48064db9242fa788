//! `datamesh serve`: from settings to a running gateway, and down again in order.

use super::{Failed, print, welcome};
use crate::admin::{Admin, Health, Phase};
use crate::config::{Config, Flags, load};
use crate::door::Door;
use crate::keeper::LOOK;
use crate::listen::{Listener, bound};
use crate::prepared::Prepared;
use crate::shutdown::{Shutdown, signalled};
use crate::store::Store;
use crate::tls::Certificate;
use clap::Args;
use engine_core::placement::Voters;
use engine_node::{EngineError, Secret};
use gateway_s3::{FrontOptions, S3Front};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Serve S3 over the given drives.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let config = load(&self.flags, std::env::vars())?;
        let prepared = Prepared::new(&config)?;
        crate::telemetry::start_logging(config.log_format, prepared.log_filter)
            .map_err(Failed::because)?;
        let witness = usize::from(Voters::for_drives(config.drives.len()).witness);
        let connections = crate::handles::connections(config.drives.len() + witness)
            .map_err(|e| Failed::wrong(e.to_string()))?;
        let (front, certificate) = (prepared.front, prepared.certificate);
        let runtime = crate::runtime::build().map_err(Failed::because)?;
        let result = runtime.block_on(serve(config, front, certificate, connections));
        runtime.shutdown_timeout(Duration::from_secs(5));
        result
    }
}

fn bind(name: &str, address: std::net::SocketAddr) -> Result<TcpListener, Failed> {
    bound(address).map_err(|e| Failed::because(format!("{name} {address}: {e}")))
}

async fn serve(
    config: Config,
    front: FrontOptions,
    certificate: Option<Arc<Certificate>>,
    connections: usize,
) -> Result<(), Failed> {
    let metrics = crate::telemetry::start_metrics().map_err(Failed::because)?;
    let (shutdown, ending) = Shutdown::new();
    // The admin listener goes last: until then readiness says `ending`.
    let (last, admin_ending) = Shutdown::new();
    let admin_socket = bind("admin_listen", config.admin_listen)?;
    let socket = bind("listen", config.listen)?;
    let health = Arc::new(Health::new());
    let admin = Admin::new(Arc::clone(&health), metrics, &config.region);
    let administered = admin.clone();
    let admin = tokio::spawn(admin.serve(admin_socket, admin_ending));
    let door = Arc::new(Door::new(front.clone(), Arc::clone(&health)));
    let listener = Listener {
        socket,
        mode: config.tls.mode,
        certificate,
        door: Arc::clone(&door),
        connections,
    };
    let drain = Duration::from_secs(config.shutdown_drain_s);
    let serving = tokio::spawn(listener.serve(ending.clone(), drain));
    // One for the whole life: a signal between two of them would be heard by neither.
    let mut signal = tokio::spawn(signalled());
    let mut store = tokio::select! {
        store = open(&config, &health) => store?,
        signal = &mut signal => {
            tracing::info!(signal = ?signal, "stopped before it was ready");
            return Ok(());
        }
    };
    if let Some(first) = &store.first {
        print(&welcome::text(first, &config, welcome::is_kept()))?;
    }
    door.open(S3Front::new(store.engine.clone(), front).map_err(Failed::because)?);
    administered.attach(&store, &config);
    health.set(Phase::Ready);
    tracing::info!(listen = %config.listen, admin = %config.admin_listen, drives = store.shelf.all().len(), "ready");
    let keeper = store.keeper.take();
    let keeping = ending.clone();
    let watch = tokio::spawn(async move {
        if let Some(keeper) = keeper {
            keeper.run(keeping).await;
        }
    });
    let signal = signal.await.map_err(Failed::because)?;
    let signal = signal.map_err(Failed::because)?;
    tracing::info!(signal, "shutting down");
    health.set(Phase::Ending);
    shutdown.begin();
    for task in [serving, watch] {
        task.await.map_err(Failed::because)?;
    }
    store.close().await;
    last.begin();
    admin.await.map_err(Failed::because)?;
    tracing::info!("stopped");
    Ok(())
}

async fn open(config: &Config, health: &Health) -> Result<Store, Failed> {
    let mut store = Store::open(config, health).await.map_err(Failed::because)?;
    loop {
        match provision(&store, config).await {
            Ok(()) => return Ok(store),
            // Control lost its majority just now: its drives may come back.
            Err((_, EngineError::Unavailable(doing))) => {
                health.set(Phase::Starting { doing });
                tokio::time::sleep(LOOK).await;
                if let Some(keeper) = &mut store.keeper {
                    keeper.look_around().await;
                }
            }
            // Also what only the store can judge, such as a key that another account has.
            Err((setting, error)) => return Err(Failed::because(format!("{setting}: {error}"))),
        }
    }
}

/// Accounts and named keys that the settings ask for; the setting that cannot be had.
async fn provision(store: &Store, config: &Config) -> Result<(), (String, EngineError)> {
    let engine = &store.engine;
    for account in &config.accounts {
        let refused = |error| (account.setting(), error);
        let row = engine.put_account(&account.canonical_id, &account.name, &account.email);
        let row = row.await.map_err(refused)?;
        let secret = Secret(account.secret_key.expose().clone());
        let key = engine.put_access_key(row.id, &account.access_key, &secret, "from the settings");
        key.await.map_err(refused)?;
    }
    for name in &config.kms_keys {
        let made = engine.create_kms_key(name).await;
        made.map_err(|error| (format!("kms_keys: {name}"), error))?;
    }
    Ok(())
}
