//! What the settings name beyond themselves, read before anything opens: `config check` says valid to
//! nothing that `serve` then refuses.

use crate::config::{Config, ConfigError, Ownership, TlsMode};
use crate::telemetry;
use crate::tls::Certificate;
use gateway_s3::{FrontOptions, ObjectOwnership};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// See above.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) log_filter: EnvFilter,
    pub(crate) front: FrontOptions,
    pub(crate) certificate: Option<Arc<Certificate>>,
}

impl Prepared {
    /// # Errors
    /// A setting that does not parse, or whose file cannot be used, by name.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        // Read again when it is needed: it is not kept in memory meanwhile.
        drop(config.passphrase()?);
        Ok(Self {
            log_filter: telemetry::filter(&config.log_level)
                .map_err(|why| ConfigError::new("log_level", why))?,
            front: front_options(config)?,
            certificate: match config.tls.mode {
                TlsMode::Off => None,
                TlsMode::On | TlsMode::Both => Some(Arc::new(Certificate::load(&config.tls)?)),
            },
        })
    }
}

fn front_options(config: &Config) -> Result<FrontOptions, ConfigError> {
    let trusted = config.trusted_proxies.iter().map(|p| {
        p.parse()
            .map_err(|e| ConfigError::new("trusted_proxies", format!("{p}: {e}")))
    });
    Ok(FrontOptions {
        region: config.region.clone(),
        domains: config.domains.clone(),
        storage_classes_extra: config.storage_classes_extra.clone(),
        sse_c_over_http: config.sse_c_over_http,
        post_form_sigv2: config.post_form_sigv2,
        default_object_ownership: match config.default_object_ownership {
            Ownership::BucketOwnerEnforced => ObjectOwnership::BucketOwnerEnforced,
            Ownership::BucketOwnerPreferred => ObjectOwnership::BucketOwnerPreferred,
            Ownership::ObjectWriter => ObjectOwnership::ObjectWriter,
        },
        block_public_access_default: config.block_public_access_default,
        trusted_proxies: trusted.collect::<Result<_, _>>()?,
        ..FrontOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serve_would_refuse_is_named() {
        type Spoil<'a> = &'a dyn Fn(&mut Config);
        let dir = tempfile::tempdir().expect("tempdir");
        let text = dir.path().join("text");
        std::fs::write(&text, "no certificate\n").expect("written");
        let good = Config {
            drives: vec!["/d/1".into()],
            key_file: Some("/k".into()),
            trusted_proxies: vec!["10.0.0.0/32".into()],
            log_level: "info,engine_meta=debug".into(),
            ..Config::default()
        };
        assert!(Prepared::new(&good).is_ok());
        let spoiled: [(&str, Spoil<'_>); 5] = [
            ("trusted_proxies", &|c| {
                c.trusted_proxies.push("10.0.0.0/33".into());
            }),
            ("trusted_proxies", &|c| {
                c.trusted_proxies = vec!["proxy".into()];
            }),
            ("log_level", &|c| c.log_level = "wat=wat=wat".into()),
            ("tls.cert", &|c| {
                c.tls.mode = TlsMode::Both;
                c.tls.cert = Some(text.clone());
                c.tls.key = Some(text.clone());
            }),
            ("passphrase_file", &|c| {
                c.key_file = None;
                c.passphrase_file = Some(dir.path().join("none"));
            }),
        ];
        for (setting, spoil) in spoiled {
            let mut config = good.clone();
            spoil(&mut config);
            assert!(config.validate().is_ok(), "{setting}");
            let refused = Prepared::new(&config).expect_err("refused");
            assert_eq!(refused.setting, setting, "{refused}");
        }
    }
}
