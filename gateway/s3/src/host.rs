//! Which bucket a Host header names. Path style unless the host ends in a configured domain: a
//! stranger's host name, an address or a proxy's name must never become a bucket.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The configured domains, lower-case, longest first.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    domains: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(domains: &[String]) -> Self {
        let mut domains: Vec<_> = domains
            .iter()
            .map(|d| bare(d).to_ascii_lowercase())
            .collect();
        domains.sort_by_key(|d| std::cmp::Reverse(d.len()));
        Self { domains }
    }

    /// The bucket in front of a configured domain.
    pub(crate) fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let host = bare(host);
        self.domains.iter().find_map(|domain| {
            let cut = host.len().checked_sub(domain.len())?;
            let (front, back) = host.split_at_checked(cut)?;
            let front = front.strip_suffix('.')?;
            (back.eq_ignore_ascii_case(domain) && !front.is_empty()).then_some(front)
        })
    }
}

/// Without port, and without the root's dot.
fn bare(host: &str) -> &str {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => {
            name
        }
        _ => host,
    };
    host.strip_suffix('.').unwrap_or(host)
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let whole = VirtualHost::new(bare(host));
        Ok(match self.bucket(host) {
            Some(bucket) => whole.with_bucket(bucket),
            None => whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_domains_carry_buckets() {
        let hosts = Hosts::new(&["s3.example.com".into(), "Example.org".into()]);
        for (host, bucket) in [
            ("b.s3.example.com", Some("b")),
            ("b.s3.example.com:9000", Some("b")),
            ("b.S3.EXAMPLE.com.", Some("b")),
            ("a.b.example.org", Some("a.b")),
            ("s3.example.com", None),
            ("xs3.example.com", None),
            (".s3.example.com", None),
            ("localhost:9000", None),
            ("127.0.0.1:9000", None),
            ("[::1]:9000", None),
            ("proxy.internal", None),
            ("", None),
        ] {
            assert_eq!(hosts.bucket(host), bucket, "{host}");
        }
        assert_eq!(Hosts::new(&[]).bucket("b.s3.amazonaws.com"), None);
    }
}
