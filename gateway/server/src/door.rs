//! The S3 port's door: open from the first moment, with the store behind it as soon as that is open.
//!
//! A port that is closed until then would tell clients and load balancers nothing, and a node whose
//! drives come late would look dead.

use crate::admin::Health;
use bytes::Bytes;
use gateway_s3::{ConnectionInfo, FrontOptions, S3Front, waiting};
use http_body_util::Either;
use hyper::body::Body;
use hyper::{Request, Response};
use std::error::Error;
use std::sync::{Arc, OnceLock};

/// Who answers requests.
pub(crate) struct Door {
    front: OnceLock<S3Front>,
    options: FrontOptions,
    health: Arc<Health>,
}

impl Door {
    pub(crate) fn new(options: FrontOptions, health: Arc<Health>) -> Self {
        Self {
            front: OnceLock::new(),
            options,
            health,
        }
    }

    /// From now on the store answers.
    pub(crate) fn open(&self, front: S3Front) {
        // Once a process; a second call would change nothing.
        let _first = self.front.set(front);
    }

    /// Answers one request.
    pub(crate) async fn call<B>(
        &self,
        request: Request<B>,
        info: ConnectionInfo,
    ) -> Response<
        impl Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send> + Unpin + use<B>,
    >
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match self.front.get() {
            Some(front) => front.call(request, info).await.map(Either::Left),
            None => {
                waiting(&request, &info, &self.options, &self.health.sentence()).map(Either::Right)
            }
        }
    }
}
