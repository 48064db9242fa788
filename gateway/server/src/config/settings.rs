//! The settings that environment and flags can reach, by name. `[[accounts]]` are for the file only:
//! secrets of others do not belong into an environment.

/// How a setting's text is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// As it is.
    Text,
    /// Decimal.
    Number,
    /// `true` or `false`.
    Switch,
    /// Separated by commas.
    List,
    /// As it is, and never by flag: every user of the machine sees those.
    Secret,
}

/// One setting: dotted name and kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// As in the file.
    pub(crate) name: &'static str,
    /// How its text is read.
    pub(crate) kind: Kind,
}

impl Setting {
    /// `DATAMESH_TLS_MODE` for `tls.mode`.
    pub(crate) fn variable(&self) -> String {
        format!("DATAMESH_{}", self.name.to_uppercase().replace('.', "_"))
    }
}

const fn setting(name: &'static str, kind: Kind) -> Setting {
    Setting { name, kind }
}

/// All of them, in the order of `Config`.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("listen", Kind::Text),
    setting("admin_listen", Kind::Text),
    setting("drives", Kind::List),
    setting("credentials_file", Kind::Text),
    setting("key_file", Kind::Text),
    setting("passphrase_file", Kind::Text),
    setting("passphrase", Kind::Secret),
    setting("witness_dir", Kind::Text),
    setting("region", Kind::Text),
    setting("domains", Kind::List),
    setting("zone", Kind::Text),
    setting("tls.mode", Kind::Text),
    setting("tls.cert", Kind::Text),
    setting("tls.key", Kind::Text),
    setting("log_format", Kind::Text),
    setting("log_level", Kind::Text),
    setting("shutdown_drain_s", Kind::Number),
    setting("trusted_proxies", Kind::List),
    setting("default_object_ownership", Kind::Text),
    setting("block_public_access_default", Kind::Switch),
    setting("post_form_sigv2", Kind::Switch),
    setting("sse_c_over_http", Kind::Switch),
    setting("storage_classes_extra", Kind::List),
    setting("kms_keys", Kind::List),
    setting("upload_buffer_bytes", Kind::Number),
    setting("segment_bytes", Kind::Number),
    setting("reserve_bytes", Kind::Number),
    setting("snapshot_log_bytes", Kind::Number),
    setting("scrub_days", Kind::Number),
    setting("scrub_bytes_per_s_min", Kind::Number),
    setting("pack_age_s", Kind::Number),
    setting("pack_bytes_min", Kind::Number),
];
