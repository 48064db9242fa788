//! The outermost service: every request passes here on its way in and every answer on its way out.
//!
//! In: ids, the close guard, checks of the head, the way to go (S3; later IAM and STS by credential
//! scope). Out: request id, errors in AWS's words, what is left of the body drained. The server owns
//! sockets, TLS and HTTP limits; authentication and S3's own rules lie further in.

use crate::access::Access;
use crate::auth::Auth;
use crate::body::{BoxError, Leftover, RequestBody};
use crate::chunked::{self, ChunkedBody};
use crate::close::{Close, ResponseBody};
use crate::cors;
use crate::document_body::DocumentBody;
use crate::documents::RulesCache;
use crate::error::{incomplete, message_too_long, sha256_mismatch};
use crate::gateway::Gateway;
use crate::hashed_body::{self, HashedBody};
use crate::held::Held;
use crate::host::{Hosts, Named};
use crate::options::FrontOptions;
use crate::post_form::{self, Forms};
use crate::precheck::{self, Known, Target};
use crate::render;
use crate::repair::Repair;
use crate::request::{DOCUMENT_BYTES_MAX, RequestState};
use bytes::Bytes;
use engine_node::Engine;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::region::Region;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3ErrorCode, S3Result, s3_error};
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::Instrument;

/// Largest signed chunk of an aws-chunked body, bytes: it is held whole until its signature is
/// checked.
pub const SIGNED_CHUNK_BYTES_MAX: usize = 8 << 20;

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The socket speaks TLS.
    pub tls: bool,
}

/// An option that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrontError {
    /// Not a region's name.
    #[error("region: {0:?} is not a region's name")]
    Region(String),
}

/// The S3 front. One a process; shared by all connections.
#[derive(Debug)]
pub struct S3Front {
    engine: Engine,
    service: S3Service,
    /// Takes the PUTs that forms became: they carry their identity.
    forms: S3Service,
    options: Arc<FrontOptions>,
    hosts: Hosts,
    held: Held,
    /// Judges forms before their file is read.
    rules: RulesCache,
}

/// Ways a request may go.
enum Route {
    S3,
    /// A browser's OPTIONS.
    Preflight,
    /// Another service of the same port, by credential scope.
    Other(String),
}

impl S3Front {
    /// Wires the protocol to the engine.
    pub fn new(engine: Engine, options: FrontOptions) -> Result<Self, FrontError> {
        let options = Arc::new(options);
        let hosts = Hosts::new(&options.domains);
        let config = Arc::new(StaticConfigProvider::new(Arc::new(config(&options)?)));
        let build = |repair: Option<Repair>| {
            let gateway = Gateway {
                engine: engine.clone(),
                options: Arc::clone(&options),
            };
            let mut builder = S3ServiceBuilder::new(gateway);
            builder.set_config(Arc::clone(&config) as Arc<_>);
            builder.set_host(hosts.clone());
            // The access check runs only where auth is set: it always is.
            builder.set_auth(Auth {
                engine: engine.clone(),
            });
            builder.set_access(Access::new(engine.clone()));
            if let Some(repair) = repair {
                builder.set_route(repair);
            }
            builder.build()
        };
        let auth = Auth {
            engine: engine.clone(),
        };
        let service = build(Some(Repair::new(build(None), auth)));
        let forms = build(None);
        Ok(Self {
            engine,
            service,
            forms,
            options,
            hosts,
            held: Held::default(),
            rules: RulesCache::default(),
        })
    }

    /// Answers one request. Never fails: what goes wrong is an answer.
    pub async fn call<B>(&self, request: Request<B>, info: ConnectionInfo) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = request.into_parts();
        let state = Arc::new(RequestState::new(&info, &head.headers, &self.options));
        let (method, resource) = (head.method.clone(), head.uri.path().to_owned());
        let mut close = Close::new(Arc::clone(&state), method.clone(), &resource);
        let (named, unnamed) = match self.hosts.named(&head) {
            Ok(named) => (named, None),
            Err(error) => (Named::default(), Some(error)),
        };
        let (bucket, key) = named;
        let target = precheck::target(&head, key);
        let browser = cors::Asked::of(&method, &head.headers, bucket.as_deref());
        let known = Known {
            target,
            bucket: bucket.is_some(),
            key,
            length: body.size_hint().exact(),
            region: &self.options.region,
        };
        let expects = head.headers.contains_key(header::EXPECT);
        let version = head.version;
        let (body, leftover) = RequestBody::new(body, Arc::clone(&state), expects);
        let answer = async {
            match unnamed.map_or_else(|| Self::admit(&mut head, &known), Err) {
                Ok(Route::S3) if target == Target::Form => {
                    head.extensions.insert(Arc::clone(&state));
                    self.form(head, body, (bucket, key), &state).await
                }
                Ok(Route::S3) => self.s3(head, body, &leftover, target, &state).await,
                Ok(Route::Preflight) => self.preflight(&head, bucket.as_deref(), &state).await,
                Ok(Route::Other(service)) => render::error(s3_error!(
                    NotImplemented,
                    "The service {service} is not built yet"
                )),
                Err(error) => render::error(error),
            }
        };
        // What is logged on the way, however deep, says for whom.
        let whose = tracing::error_span!("answer", request_id = %state.id, path = %resource);
        let mut response = answer.instrument(whose).await;
        leftover.drain();
        if expects && state.received() == 0 && version < Version::HTTP_2 {
            refuse_expectation(&mut response);
        }
        if let Some(browser) = browser.filter(|_| method != Method::OPTIONS) {
            browser.decorate(&self.engine, response.headers_mut()).await;
        }
        render::finish(
            &mut response,
            &state,
            &method,
            &resource,
            &self.options.region,
        );
        close.answered(response.status());
        response.map(|body| ResponseBody::new(body, close))
    }

    /// Checks the head and says where it goes.
    fn admit(head: &mut Parts, known: &Known<'_>) -> S3Result<Route> {
        precheck::check(head, known)?;
        precheck::mend(head);
        if head.method == Method::OPTIONS {
            return Ok(Route::Preflight);
        }
        Ok(match precheck::scope_service(&head.headers) {
            Some(service) if service != "s3" => Route::Other(service.to_owned()),
            _ => Route::S3,
        })
    }

    /// A browser's form: the PUT it stands for, its answer re-said.
    async fn form(
        &self,
        head: Parts,
        body: RequestBody,
        named: Named,
        state: &RequestState,
    ) -> Response<Body> {
        let auth = Auth {
            engine: self.engine.clone(),
        };
        let forms = Forms {
            auth: &auth,
            options: &self.options,
            held: &self.held,
            rules: &self.rules,
            state,
        };
        let (put, answer) = match post_form::into_put(&forms, head, body, named).await {
            Ok(form) => form,
            Err(error) => {
                state.let_go();
                return render::error(error);
            }
        };
        let answered = self.forms.call(put).await;
        state.let_go();
        match answered {
            Ok(response) => answer.say(response),
            Err(error) => {
                tracing::error!(%error, "s3s failed");
                render::error(S3Error::new(S3ErrorCode::InternalError))
            }
        }
    }

    async fn s3(
        &self,
        mut head: Parts,
        body: RequestBody,
        leftover: &Leftover,
        target: Target,
        state: &Arc<RequestState>,
    ) -> Response<Body> {
        let hashed = head
            .headers
            .get("x-amz-content-sha256")
            .is_some_and(|v| v.len() == 64);
        let body = match target {
            Target::Document => {
                let most = precheck::marks_max(&head);
                let body = DocumentBody::new(body, Arc::clone(state), &self.held, most);
                Body::http_body_unsync(body)
            }
            Target::Bytes | Target::Form => match bytes_body(&mut head, body) {
                Ok(body) => body,
                Err(error) => return render::error(error),
            },
        };
        let body = match hashed_body::declared(&head.headers, precheck::signed(&head)) {
            Some(hash) => Body::http_body_unsync(HashedBody::new(body, hash)),
            None => body,
        };
        #[cfg(sabotage)]
        if engine_types::sabotage("accept-any-signature") {
            let engine = self.engine.clone();
            Auth { engine }.take_at_its_word(&mut head).await;
        }
        let mut request = Request::from_parts(head, body);
        request.extensions_mut().insert(Arc::clone(state));
        let response = match self.service.call(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(request_id = %state.id, %error, "s3s failed");
                render::error(S3Error::new(S3ErrorCode::InternalError))
            }
        };
        state.let_go();
        // s3s calls it an internal error when a document's body fails while it is read.
        let unread = response.status() == StatusCode::INTERNAL_SERVER_ERROR && !state.handled();
        match leftover.fault() {
            Some(fault) if unread => render::error(crate::error::from_body(fault)),
            // One that did not say how long it is: s3s stops reading at the limit.
            None if unread && state.received() > DOCUMENT_BYTES_MAX as u64 => {
                render::error(message_too_long())
            }
            None if unread && leftover.polled() => render::error(if hashed {
                sha256_mismatch()
            } else {
                incomplete()
            }),
            _ => response,
        }
    }

    async fn preflight(
        &self,
        head: &Parts,
        bucket: Option<&str>,
        state: &RequestState,
    ) -> Response<Body> {
        state.set_operation("Preflight");
        match cors::preflight(&self.engine, &head.headers, bucket).await {
            Ok(headers) => {
                let mut response = Response::new(Body::empty());
                *response.headers_mut() = headers;
                response
            }
            Err(error) => render::error(error),
        }
    }
}

/// A body of bytes: as it comes, or taken out of its chunks.
fn bytes_body(head: &mut Parts, body: RequestBody) -> S3Result<Body> {
    let Some(plan) = chunked::plan(head, precheck::signed(head))? else {
        return Ok(Body::http_body_unsync(body));
    };
    plan.apply(head);
    Ok(Body::http_body_unsync(ChunkedBody::new(body, plan)))
}

/// Who waits for a 100 and hears an error may send its body or not, and some clients (botocore) take
/// the next answer for this one: only closing leaves no doubt.
fn refuse_expectation(response: &mut Response<Body>) {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn config(options: &FrontOptions) -> Result<S3Config, FrontError> {
    let wrong = |_error| FrontError::Region(options.region.clone());
    let mut config = S3Config::default();
    config.xml_max_body_size = DOCUMENT_BYTES_MAX;
    config.put_object_max_size = Some(engine_node::PART_BYTES_MAX);
    config.custom_route_max_body_size = None;
    config.aws_chunked_stream_max_chunk_size = SIGNED_CHUNK_BYTES_MAX;
    config.expected_region = Some(Region::new(options.region.as_str().into()).map_err(wrong)?);
    config.sig_v4_allowed_services = vec!["s3".into()];
    // `precheck` puts it there where a client sent Date alone, and refuses one that came unsigned.
    config.unsigned_amz_header_allowlist = vec!["x-amz-date".into()];
    // What SDKs say in `x-id` is not what the front goes by: a PUT that it holds to be an object's must
    // not be s3s's PutObjectAcl, whose document is read whole.
    config.operation_id_routing = false;
    // Forms never reach s3s as forms (`post_form`), and nothing else may be signed in version two.
    config.enable_sig_v2 = false;
    config.allow_post_signature = false;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_expectation_closes_and_a_kept_one_does_not() {
        for (status, closes) in [
            (100, false),
            (200, false),
            (304, false),
            (404, true),
            (503, true),
        ] {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(status).expect("status");
            refuse_expectation(&mut response);
            assert_eq!(
                response.headers().contains_key(header::CONNECTION),
                closes,
                "{status}"
            );
        }
    }

    #[test]
    fn the_config_binds_region_and_service_and_bounds_what_is_held() {
        let options = FrontOptions {
            region: "here".into(),
            ..FrontOptions::default()
        };
        let config = config(&options).expect("config");
        let region = config.expected_region.as_ref();
        assert_eq!(region.map(Region::as_str), Some("here"));
        assert_eq!(config.sig_v4_allowed_services, ["s3"]);
        assert_eq!(
            config.aws_chunked_stream_max_chunk_size,
            SIGNED_CHUNK_BYTES_MAX
        );
        assert_eq!(config.xml_max_body_size, DOCUMENT_BYTES_MAX);
        assert!(!config.enable_sig_v2);
        assert!(!config.operation_id_routing);
        assert_eq!(config.unsigned_amz_header_allowlist, ["x-amz-date"]);
        let wrong = FrontOptions {
            region: "no region".into(),
            ..FrontOptions::default()
        };
        assert!(super::config(&wrong).is_err());
    }
}
