//! The admin listener: liveness, readiness and metrics without authentication; the rest signed.

mod health;

use crate::shutdown::Ending;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tokio::net::TcpListener;

pub(crate) use health::{Health, Phase};

/// What the admin listener serves from.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: PrometheusHandle,
}

impl Admin {
    /// Serves until `ending` begins. Up before the engine, so that readiness can say what is missing.
    pub(crate) async fn serve(self, socket: TcpListener, mut ending: Ending) {
        let metrics = self.metrics.clone();
        let router = Router::new()
            .route("/health/live", get(|| async { "live\n" }))
            .route("/health/ready", get(health::ready))
            .route("/metrics", get(move || async move { metrics.render() }))
            .with_state(self);
        let served = axum::serve(socket, router).with_graceful_shutdown(async move { ending.begun().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "admin listener ended");
        }
    }
}
