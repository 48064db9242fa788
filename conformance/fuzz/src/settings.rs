//! The admin listener's signatures and bodies, the settings file and the credentials file.
//! `gateway-server` is a program without a library; the files that parse stand alone, so they are
//! compiled in here.

#[path = "../../../gateway/server/src/admin/auth/mod.rs"]
#[expect(dead_code, reason = "the server calls more of it")]
mod auth;
#[path = "../../../gateway/server/src/config/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the server calls more of it")]
mod config_file;

#[path = "../../../gateway/server/src/credentials/mod.rs"]
#[expect(dead_code, reason = "the server calls more of it")]
mod credentials;

#[path = "../../../gateway/server/src/admin/shapes.rs"]
mod shapes;

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

/// What the admin listener takes, what the command line reads of its answers, and the credentials
/// file: the first byte picks which.
pub(crate) fn admin_json(bytes: &[u8]) -> bool {
    let Some((kind, json)) = bytes.split_first() else {
        return false;
    };
    match kind % 15 {
        0 => reads::<shapes::NewKey>(json),
        1 => reads::<shapes::KeyName>(json),
        2 => reads::<shapes::KeyOf>(json),
        3 => reads::<shapes::Sealed>(json),
        4 => reads::<shapes::DrivePath>(json),
        5 => reads::<shapes::Status>(json),
        6 => reads::<shapes::Explained>(json),
        7 => reads::<Vec<shapes::KeyVersionInfo>>(json),
        8 => reads::<credentials::Credentials>(json),
        9 => reads::<shapes::DriveAdded>(json),
        10 => reads::<Vec<shapes::KeyInfo>>(json),
        11 => reads::<shapes::KeyMade>(json),
        12 => reads::<shapes::Imported>(json),
        13 => reads::<shapes::Destroyed>(json),
        _ => reads::<Vec<shapes::AccountInfo>>(json),
    }
}

/// What is read is written, and reads again.
fn reads<T: serde::de::DeserializeOwned + serde::Serialize>(json: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(json) else {
        return false;
    };
    let again = serde_json::to_vec(&value).unwrap_or_default();
    assert!(
        serde_json::from_slice::<T>(&again).is_ok(),
        "what was read can be written"
    );
    true
}

pub(crate) fn admin_jsons() -> Vec<Vec<u8>> {
    let seeds = [
        (0, r#"{"account":"main","description":"a note"}"#),
        (1, r#"{"name":"testkey-1"}"#),
        (2, r#"{"account":"main"}"#),
        (3, r#"{"passphrase":"correct horse","keyring":"AAAA"}"#),
        (4, r#"{"path":"/d/7"}"#),
        (
            7,
            r#"[{"id":"1f","owner":"name a","state":"retired","created_ms":5,"rewrap":{"phase":"done","moved":1,"left":0},"not_erased":[2]}]"#,
        ),
        (12, r#"{"new":1}"#),
        (
            14,
            r#"[{"id":1,"name":"main","canonical_id":"a1","root":true}]"#,
        ),
        (
            8,
            r#"{"cluster":"05050505050505050505050505050505","access_key":"AK","secret_key":"s"}"#,
        ),
    ];
    seeds
        .iter()
        .map(|(kind, json)| [&[*kind], json.as_bytes()].concat())
        .collect()
}
