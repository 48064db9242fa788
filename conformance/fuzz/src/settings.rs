//! The admin listener's signatures and the settings file. `gateway-server` is a program without a
//! library; the files that parse stand alone, so they are compiled in here.

#[path = "../../../gateway/server/src/admin/auth/mod.rs"]
#[expect(dead_code, reason = "the server calls more of it")]
mod auth;
#[path = "../../../gateway/server/src/config/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the server calls more of it")]
mod config_file;

use config_file::{Config, Flags, TlsMode, load};

/// A head as the admin listener judges it.
pub(crate) fn admin_head(bytes: &[u8]) -> bool {
    let Some(head) = crate::requests::parts(bytes) else {
        return false;
    };
    let Ok(claim) = auth::Claim::parse(&head) else {
        return false;
    };
    let _judged = (
        claim.check("us-east-1", 1_767_225_600),
        claim.verify(&head, "secret"),
        claim.covers_body(b""),
    );
    true
}

pub(crate) fn admin_heads() -> Vec<Vec<u8>> {
    let zeros = "0".repeat(64);
    let head = format!(
        "GET\n/v1/status?a=b%20c&d\nhost:h\nx-amz-date:20260101T000000Z\nx-amz-content-sha256:{zeros}\n\
         authorization:AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/datamesh/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={zeros}"
    );
    vec![head.into()]
}

/// A settings file, and the same lines as `--set` takes them. Neither opens a file: TLS is left out.
pub(crate) fn config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let lines = text
        .lines()
        .filter(|line| !line.contains("tls"))
        .map(str::to_owned);
    let flags = Flags {
        set: lines.collect(),
        ..Flags::default()
    };
    let _set = load(&flags, std::iter::empty());
    let Ok(config) = toml::from_str::<Config>(text) else {
        return false;
    };
    config.tls.mode == TlsMode::Off && config.validate().is_ok()
}

pub(crate) fn configs() -> Vec<Vec<u8>> {
    let text = r#"listen = "127.0.0.1:9000"
drives = ["/d/1", "/d/2"]
credentials_file = "/k/c.json"
key_file = "/k/key"
region = "us-east-1"
segment_bytes = 16777216
upload_buffer_bytes = 201326592
trusted_proxies = ["10.0.0.0/8"]
log_format = "json"
post_form_sigv2 = true
[[accounts]]
name = "main"
canonical_id = "a1"
access_key = "DMTESTMAIN0000000001"
secret_key = "a-secret-of-some-length"
"#;
    let bare = "drives=[\"/d/1\"]\nkey_file=\"/k\"\n";
    vec![text.into(), bare.into()]
}
