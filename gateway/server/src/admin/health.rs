//! Readiness: one sentence that names the cause.

use super::Admin;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// How far the process is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Opening drives, recovering, electing.
    Starting {
        /// At what.
        doing: String,
    },
    /// Serving.
    Ready,
    /// Cannot serve: why, and what to do.
    Failing {
        /// The reason.
        reason: String,
    },
    /// On the way down.
    Ending,
}

/// The phase, shared.
#[derive(Debug)]
pub(crate) struct Health(Mutex<Phase>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Phase::Starting { doing: "opening drives".into() }))
    }

    pub(crate) fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(crate) fn get(&self) -> Phase {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// 200 when requests are served, else 503 with the cause.
pub(super) async fn ready(State(admin): State<Admin>) -> (StatusCode, Json<Phase>) {
    let phase = admin.health.get();
    let status = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(phase))
}
