//! The server's certificate, read again when its files change.

use crate::config::{ConfigError, Tls};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often at most the files' times are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The certificate in force.
#[derive(Debug)]
pub(crate) struct Certificate {
    cert: std::path::PathBuf,
    key: std::path::PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    config: Arc<ServerConfig>,
    times: (SystemTime, SystemTime),
    looked: Instant,
}

impl Certificate {
    /// Reads both files; a wrong one is named.
    pub(crate) fn load(tls: &Tls) -> Result<Self, ConfigError> {
        let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
            return Err(ConfigError::new(
                "tls.cert",
                "needed when tls.mode is on or both",
            ));
        };
        let config = read(cert, key)?;
        let held = Held {
            config,
            times: times(cert, key),
            looked: Instant::now(),
        };
        Ok(Self {
            cert: cert.clone(),
            key: key.clone(),
            held: Mutex::new(held),
        })
    }

    /// For a new connection. A changed pair that cannot be read leaves the old one in force: a
    /// half-written file must not take the service down.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_AGAIN {
            held.looked = Instant::now();
            let now = times(&self.cert, &self.key);
            if now != held.times {
                match read(&self.cert, &self.key) {
                    Ok(config) => {
                        held.config = config;
                        held.times = now;
                        tracing::info!(cert = %self.cert.display(), "certificate read again");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "changed certificate not taken; the old one stays");
                    }
                }
            }
        }
        Arc::clone(&held.config)
    }
}

fn times(cert: &Path, key: &Path) -> (SystemTime, SystemTime) {
    let time = |p: &Path| {
        p.metadata()
            .and_then(|m| m.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    (time(cert), time(key))
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, ConfigError> {
    let open = |name: &str, path: &Path| {
        std::fs::read(path)
            .map_err(|e| ConfigError::new(name, format!("cannot read {}: {e}", path.display())))
    };
    let chain: Vec<CertificateDer<'static>> =
        rustls_pemfile::certs(&mut open("tls.cert", cert)?.as_slice())
            .collect::<Result<_, _>>()
            .map_err(|e| ConfigError::new("tls.cert", e.to_string()))?;
    if chain.is_empty() {
        return Err(ConfigError::new("tls.cert", "holds no certificate"));
    }
    let key: PrivateKeyDer<'static> =
        rustls_pemfile::private_key(&mut open("tls.key", key)?.as_slice())
            .map_err(|e| ConfigError::new("tls.key", e.to_string()))?
            .ok_or_else(|| ConfigError::new("tls.key", "holds no private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| ConfigError::new("tls", e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| ConfigError::new("tls.key", e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
