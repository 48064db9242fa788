//! A small signed S3 client on one kept-alive HTTP/1.1 connection: what the load generator and the
//! durability proofs speak. Signing is AWS's own (`aws-sigv4`), so it also tests what we accept.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::time::SystemTime;
use tokio::net::TcpStream;

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Region that signatures name.
    pub region: String,
}

/// What can go wrong on the way; an S3 error is an answer, not this.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Connecting, writing or reading.
    #[error("connection: {0}")]
    Connection(String),
    /// Not a request that can be signed.
    #[error("request: {0}")]
    Request(String),
}

fn lost(error: impl std::fmt::Display) -> ClientError {
    ClientError::Connection(error.to_string())
}

fn bad(error: impl std::fmt::Display) -> ClientError {
    ClientError::Request(error.to_string())
}

/// One answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; empty when it was only counted.
    pub body: Bytes,
    /// Bytes of body.
    pub length: u64,
}

/// How the payload is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// SHA-256 over it.
    Signed,
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
}

/// One connection; requests one after another, re-connecting where the peer has closed.
#[derive(Debug)]
pub struct Client {
    target: Target,
    service: &'static str,
    identity: Credentials,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Speaks to S3. Connects lazily.
    pub fn new(target: Target) -> Self {
        Self::for_service(target, "s3")
    }

    /// Signs for another service: the admin listener's is `datamesh`.
    pub fn for_service(target: Target, service: &'static str) -> Self {
        let identity = Credentials::new(
            target.access_key.clone(),
            target.secret_key.clone(),
            None,
            None,
            "fixed",
        );
        Self {
            target,
            service,
            identity,
            sender: None,
        }
    }

    /// Sends one request and reads the whole answer.
    ///
    /// `path` is percent-encoded already, with query: `/bucket/key?partNumber=1`.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        payload: Payload,
    ) -> Result<Answer, ClientError> {
        let response = self.begin(method, path, headers, body, payload).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            length: body.len() as u64,
            body,
        })
    }

    /// GETs `path` and throws the body away as it comes: memory stays flat.
    pub async fn drain(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ClientError> {
        let response = self
            .begin(Method::GET, path, headers, Bytes::new(), Payload::Signed)
            .await?;
        let (parts, mut body) = response.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame
                .map_err(lost)?
                .data_ref()
                .map_or(0, |d| d.len() as u64);
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: Bytes::new(),
            length,
        })
    }

    /// Sends one request; the body of the answer is still to be read.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        payload: Payload,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let request = self.signed(&method, path, headers, body, (payload, SystemTime::now()))?;
        let sender = self.connected().await?;
        match sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.sender = None;
                Err(lost(error))
            }
        }
    }

    /// The request as it would be sent at `time`.
    pub fn signed(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        (payload, time): (Payload, SystemTime),
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri: Uri = format!("http://{}{path}", self.target.address)
            .parse()
            .map_err(bad)?;
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let identity = self.identity.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.target.region)
            .name(self.service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(bad)?
            .into();
        let signable = match payload {
            Payload::Signed => SignableBody::Bytes(&body),
            Payload::Unsigned => SignableBody::UnsignedPayload,
        };
        let request = SignableRequest::new(
            method.as_str(),
            uri.to_string(),
            headers.iter().copied(),
            signable,
        )
        .map_err(bad)?;
        let (instructions, _signature) = sign(request, &params).map_err(bad)?.into_parts();
        let origin = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let mut builder = Request::builder()
            .method(method)
            .uri(origin)
            .header(http::header::HOST, &self.target.address);
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(body)).map_err(bad)
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, ClientError> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            let stream = TcpStream::connect(&self.target.address)
                .await
                .map_err(lost)?;
            stream.set_nodelay(true).map_err(lost)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
            // Ends with the connection: dropping the sender closes it.
            tokio::spawn(async move {
                let _closed = connection.await;
            });
            self.sender = Some(sender);
        }
        self.sender.as_mut().ok_or_else(|| lost("not connected"))
    }
}
