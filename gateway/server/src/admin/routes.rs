//! The way of an admin request: route, head, signature, body, handler, one line in the log.

use super::auth::{AuthError, Claim};
use super::error::AdminError;
use super::{Admin, Running, drives, keyring, keys, metrics, object, scrub, shapes, status, work};
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use engine_core::meta::AccessKeyState;
use engine_node::keyring::KEYRING_BYTES_MAX;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest body of an import: the largest keyring in base64, and room for the rest.
pub(super) const IMPORT_BODY_BYTES_MAX: usize = KEYRING_BYTES_MAX / 3 * 4 + BODY_BYTES_MAX;
const IMPORT: &str = "/v1/keyring/import";
/// A body has this long to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// An import's, which may come through a thin line.
const IMPORT_BODY_TIMEOUT: Duration = Duration::from_mins(10);

pub(super) fn router(admin: Admin) -> Router {
    let signed = Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/drives", get(drives::list).post(drives::add))
        .route("/v1/drives/{id}", delete(drives::remove))
        .route("/v1/drives/{id}/replace", post(drives::replace))
        .route("/v1/drives/{id}/keep", post(drives::keep))
        .route("/v1/work", get(work::list))
        .route("/v1/work/{name}", post(work::start))
        .route("/v1/scrub", get(scrub::status).post(scrub::start))
        .route("/v1/scrub/stop", post(scrub::stop))
        .route("/v1/space", get(scrub::space))
        .route("/v1/object", get(object::explain))
        .route("/v1/accounts", get(keys::accounts))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{key}", delete(keys::delete))
        .route("/v1/keys/{key}/enable", post(keys::enable))
        .route("/v1/keys/{key}/disable", post(keys::disable))
        .route("/v1/keyring", get(keyring::list))
        .route("/v1/keyring/names", post(keyring::create))
        .route("/v1/keyring/rotate", post(keyring::rotate))
        .route("/v1/keyring/export", post(keyring::export))
        .route(IMPORT, post(keyring::import))
        .route("/v1/keyring/destroy", post(keyring::destroy))
        .method_not_allowed_fallback(|| async {
            AdminError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "no such method here",
            )
        })
        .fallback(|| async { AdminError::missing("no such path: see docs/ADMIN.md") })
        .layer(from_fn_with_state(admin.clone(), believe))
        .with_state(admin.clone());
    Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(rendered))
        .with_state(admin)
        .merge(signed)
}

/// 200 when requests are served, be it without some partitions' keys; else 503 with the cause.
async fn ready(State(admin): State<Admin>) -> (StatusCode, Json<shapes::Readiness>) {
    let told = admin.health.readiness(admin.running.get());
    let status = match told.state.as_str() {
        "ready" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(told))
}

async fn rendered(State(admin): State<Admin>) -> String {
    metrics::refresh(admin.running.get());
    admin.metrics.render()
}

/// The access key that signed, as verified.
#[derive(Clone, Debug)]
pub(super) struct Signer(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Signer {
    type Rejection = AdminError;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, AdminError> {
        // Every signed route lies behind `believe`; a request without a signer is not answered.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| AuthError::Missing.into())
    }
}

/// JSON of a request, its errors ours.
pub(super) struct Given<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned> FromRequest<Admin> for Given<T> {
    type Rejection = AdminError;
    async fn from_request(request: Request, state: &Admin) -> Result<Self, AdminError> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        read.map(|Json(given)| Self(given))
            .map_err(|error| AdminError::invalid(error.body_text()))
    }
}

impl Admin {
    /// The open store, or why there is none yet.
    pub(super) fn running(&self) -> Result<&Running, AdminError> {
        self.running.get().ok_or_else(|| {
            let told = self.health.readiness(None);
            AdminError::unavailable(format!(
                "{}: {}",
                told.state,
                told.reason.unwrap_or_default()
            ))
        })
    }

    /// On the way down nothing is begun that would be cut off half done; it may still be looked at.
    fn takes(&self, method: &Method) -> Result<(), AdminError> {
        if self.health.ending() && !method.is_safe() {
            let text = "shutting down; nothing was changed: ask again after the next start";
            return Err(AdminError::unavailable(text));
        }
        Ok(())
    }

    /// Judges the head; the signer.
    async fn signer(&self, head: &Parts) -> Result<(Claim, Signer), AdminError> {
        let claim = Claim::parse(head)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        claim.check(&self.region, i64::try_from(now).unwrap_or(i64::MAX))?;
        let found = self.running()?.credential(&claim.access_key).await?;
        let found = found
            .filter(|c| c.key.state == AccessKeyState::Active)
            .ok_or(AuthError::UnknownKey)?;
        claim.verify(head, &found.secret.0)?;
        #[cfg(sabotage)]
        if engine_types::sabotage("admin-any-account") {
            return Ok((claim, Signer(found.key.access_key.clone())));
        }
        if !found.account.root {
            return Err(AuthError::NotRoot.into());
        }
        Ok((claim, Signer(found.key.access_key.clone())))
    }
}

/// Lets a request through whose signature holds, over its body too.
async fn believe(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if !path.starts_with("/v1/") {
        return AdminError::missing("no such path: see docs/ADMIN.md").into_response();
    }
    let (response, who) = match judged(&admin, request).await {
        Ok((request, who)) => (next.run(request).await, who.0),
        Err(error) => (error.into_response(), String::new()),
    };
    let status = response.status();
    tracing::info!(access_key = who, %method, path, status = status.as_u16(), "admin request");
    ::metrics::counter!(metrics::ADMIN_REQUESTS, "status" => status.as_str().to_owned())
        .increment(1);
    response
}

async fn judged(admin: &Admin, request: Request) -> Result<(Request, Signer), AdminError> {
    let (mut head, body) = request.into_parts();
    let (claim, signer) = admin.signer(&head).await?;
    admin.takes(&head.method)?;
    let body = whole(head.uri.path(), body).await?;
    claim.covers_body(&body)?;
    head.extensions.insert(signer.clone());
    Ok((Request::from_parts(head, Body::from(body)), signer))
}

/// A body, if it is neither too long for its path nor too long on its way.
async fn whole(path: &str, body: Body) -> Result<Bytes, AdminError> {
    let (limit, time) = if path == IMPORT {
        (IMPORT_BODY_BYTES_MAX, IMPORT_BODY_TIMEOUT)
    } else {
        (BODY_BYTES_MAX, BODY_TIMEOUT)
    };
    match tokio::time::timeout(time, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_too_long)) => Err(AdminError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BodyTooLarge",
            format!("at most {limit} bytes"),
        )),
        Err(_late) => Err(AdminError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            format!("the body did not arrive within {} s", time.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test]
    async fn bodies_at_the_limit_and_one_past_it() {
        for (path, limit) in [
            ("/v1/keys", BODY_BYTES_MAX),
            (IMPORT, IMPORT_BODY_BYTES_MAX),
        ] {
            assert_eq!(
                whole(path, Body::from(vec![0; limit]))
                    .await
                    .expect("fits")
                    .len(),
                limit
            );
            let refused = whole(path, Body::from(vec![0; limit + 1]))
                .await
                .expect_err("too long");
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_at_the_limit_and_not_before() {
        for (path, limit) in [("/v1/keys", BODY_TIMEOUT), (IMPORT, IMPORT_BODY_TIMEOUT)] {
            let never =
                || Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>());
            let tick = Duration::from_millis(2);
            let early = tokio::time::timeout(limit.saturating_sub(tick), whole(path, never()));
            assert!(early.await.is_err(), "not yet");
            let given_up = tokio::time::timeout(limit + tick, whole(path, never())).await;
            let given_up = given_up.expect("in time").expect_err("no body");
            assert_eq!(given_up.status(), StatusCode::REQUEST_TIMEOUT);
        }
    }
}
