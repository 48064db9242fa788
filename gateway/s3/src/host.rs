//! Which bucket a request names, by its Host header or its path. Path style unless the host ends in a
//! configured domain: a stranger's host name, an address or a proxy's name must never become a bucket.
//!
//! What a request is held to (room, pace, digests) goes by this, and what is done by what s3s reads: both
//! read the path decoded, and the authority where there is no Host on h2 alone.

use crate::translate::path_decode;
use http::request::Parts;
use http::{Version, header};
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Result, s3_error};

/// The bucket, and whether there is a key.
pub(crate) type Named = (Option<String>, bool);

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

    /// What a request names.
    ///
    /// # Errors
    /// `InvalidURI` for a path that is not UTF-8.
    pub(crate) fn named(&self, head: &Parts) -> S3Result<Named> {
        let said = head.headers.get(header::HOST).and_then(|h| h.to_str().ok());
        let authority = || {
            let of_h2 = head.version >= Version::HTTP_2;
            let authority = head.uri.authority().filter(|_| of_h2);
            authority.map(http::uri::Authority::as_str)
        };
        let path = path_decode(head.uri.path())
            .ok_or_else(|| s3_error!(InvalidURI, "Couldn't parse the specified URI."))?;
        let path = path.strip_prefix('/').unwrap_or_default();
        if let Some(bucket) = said.or_else(authority).and_then(|host| self.bucket(host)) {
            return Ok((Some(bucket.to_owned()), !path.is_empty()));
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let bucket = (!bucket.is_empty()).then(|| bucket.to_owned());
        Ok((bucket, !key.is_empty()))
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
    fn paths_and_hosts_name_as_s3s_has_them() {
        let hosts = Hosts::new(&["s3.example.com".into()]);
        let (none, buc) = (None, Some("buc"));
        for (version, host, uri, named) in [
            (Version::HTTP_11, "h", "/", (none, false)),
            (Version::HTTP_11, "h", "/buc", (buc, false)),
            (Version::HTTP_11, "h", "/buc/", (buc, false)),
            (Version::HTTP_11, "h", "/buc/k", (buc, true)),
            (Version::HTTP_11, "h", "/buc%2Fk", (buc, true)),
            (Version::HTTP_11, "h", "/buc%2fk/m", (buc, true)),
            (Version::HTTP_11, "h", "/buc%2F", (buc, false)),
            (Version::HTTP_11, "h", "/%62uc/k", (buc, true)),
            (Version::HTTP_11, "h", "/%2Fk", (none, true)),
            (Version::HTTP_11, "buc.s3.example.com", "/", (buc, false)),
            (Version::HTTP_11, "buc.s3.example.com", "/k", (buc, true)),
            (Version::HTTP_11, "buc.s3.example.com", "/%2F", (buc, true)),
            (
                Version::HTTP_2,
                "",
                "http://buc.s3.example.com/k",
                (buc, true),
            ),
            (
                Version::HTTP_10,
                "",
                "http://x.s3.example.com/buc",
                (buc, false),
            ),
        ] {
            let mut request = http::Request::builder().version(version).uri(uri);
            if !host.is_empty() {
                request = request.header("host", host);
            }
            let (head, ()) = request.body(()).expect("request").into_parts();
            let found = hosts.named(&head).expect("UTF-8");
            assert_eq!((found.0.as_deref(), found.1), named, "{host} {uri}");
            if !version.eq(&Version::HTTP_11) || host != "h" {
                continue;
            }
            let path = path_decode(uri).expect("UTF-8");
            let theirs = match s3s::path::parse_path_style(&path) {
                Ok(s3s::path::S3Path::Root) => (None, false),
                Ok(s3s::path::S3Path::Bucket { bucket }) => (Some(bucket), false),
                Ok(s3s::path::S3Path::Object { bucket, .. }) => (Some(bucket), true),
                Err(_) => continue,
            };
            assert_eq!((theirs.0.as_deref(), theirs.1), named, "{uri}");
        }
        let wrong = http::Request::builder().uri("/buc/%ff");
        let (head, ()) = wrong.body(()).expect("request").into_parts();
        assert!(hosts.named(&head).is_err());
    }

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
