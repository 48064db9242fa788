//! What the first start says: root's keys, once, and lines to paste.

use crate::config::{Config, TlsMode};
use crate::credentials::Credentials;

/// Set by systemd where standard output goes to the journal.
const JOURNAL: &str = "JOURNAL_STREAM";

/// Standard output is kept where others may read it: no secret belongs there. A pipe or file is the
/// operator's own, and often how the keys are passed on.
pub(super) fn is_kept() -> bool {
    std::env::var_os(JOURNAL).is_some()
}

/// The text. `kept`: the secret is left out; the credentials file has it.
pub(super) fn text(first: &Credentials, config: &Config, kept: bool) -> String {
    let (file, access) = (config.credentials_file.display(), &first.access_key);
    if kept {
        return format!(
            "\nA new store. Root's access key is {access}; its secret is in {file}.\n\n"
        );
    }
    let (secret, region, endpoint) = (first.secret_key.as_str(), &config.region, endpoint(config));
    format!(
        "\nA new store. Root's keys, shown once and kept in {file}:\n\n\
         \x20 access key  {access}\n  secret key  {secret}\n\n\
         Paste:\n\n\
         export AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY='{secret}' AWS_DEFAULT_REGION={region}\n\
         aws --endpoint-url {endpoint} s3 mb s3://first-bucket\n\
         aws --endpoint-url {endpoint} s3 cp README.md s3://first-bucket/\n\
         aws --endpoint-url {endpoint} s3 ls s3://first-bucket\n\n"
    )
}

fn endpoint(config: &Config) -> String {
    let scheme = if config.tls.mode == TlsMode::On {
        "https"
    } else {
        "http"
    };
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Credentials {
        Credentials {
            cluster: "c".into(),
            access_key: "AKROOT".into(),
            secret_key: "very-secret".to_owned().into(),
        }
    }

    #[test]
    fn the_secret_is_shown_once_but_never_to_the_journal() {
        let config = Config::default();
        let shown = text(&first(), &config, false);
        assert!(shown.contains("AKROOT") && shown.contains("very-secret"));
        assert!(shown.contains("--endpoint-url http://127.0.0.1:9000 s3 mb"));
        let kept = text(&first(), &config, true);
        assert!(kept.contains("AKROOT") && !kept.contains("very-secret"));
        assert!(kept.contains("datamesh-credentials.json"));
    }

    #[test]
    fn lines_to_paste_name_an_address_that_can_be_reached() {
        for (listen, wanted) in [
            ("0.0.0.0:9000", "http://127.0.0.1:9000"),
            ("[::1]:9100", "http://[::1]:9100"),
            ("10.1.2.3:80", "http://10.1.2.3:80"),
        ] {
            let listen = listen.parse().unwrap();
            let config = Config {
                listen,
                ..Config::default()
            };
            assert_eq!(endpoint(&config), wanted);
        }
    }
}
