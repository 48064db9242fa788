//! What the front is told once, at start.

use std::net::IpAddr;
use std::str::FromStr;

/// Ownership of objects in new buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ObjectOwnership {
    /// ACLs off; the bucket's owner owns everything (AWS's default).
    #[default]
    BucketOwnerEnforced,
    /// The bucket's owner owns what is written with `bucket-owner-full-control`.
    BucketOwnerPreferred,
    /// The writer owns.
    ObjectWriter,
}

/// Settings of the S3 port. Plain data.
#[derive(Clone, Debug)]
pub struct FrontOptions {
    /// Region that signatures and bucket locations name.
    pub region: String,
    /// Domains of virtual-hosted style: `bucket.DOMAIN`. Any other host is path style.
    pub domains: Vec<String>,
    /// Storage class names taken beside the known ones, stored alike.
    pub storage_classes_extra: Vec<String>,
    /// Take customer keys over plain http. Hazard: the key then crosses the network in the clear.
    pub sse_c_over_http: bool,
    /// Take SigV2 signatures in POST forms (and only there).
    pub post_form_sigv2: bool,
    /// Largest file of a POST form, bytes.
    pub post_form_bytes_max: u64,
    /// Ownership of objects in new buckets.
    pub default_object_ownership: ObjectOwnership,
    /// Whether new buckets block public access.
    pub block_public_access_default: bool,
    /// Proxies whose `X-Forwarded-For` and `-Proto` are believed.
    pub trusted_proxies: Vec<Proxy>,
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            domains: Vec::new(),
            storage_classes_extra: Vec::new(),
            sse_c_over_http: false,
            post_form_sigv2: false,
            post_form_bytes_max: engine_node::PART_BYTES_MAX,
            default_object_ownership: ObjectOwnership::default(),
            block_public_access_default: true,
            trusted_proxies: Vec::new(),
        }
    }
}

/// A network of proxies: an address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proxy {
    net: IpAddr,
    bits: u8,
}

/// Not `ADDRESS` or `ADDRESS/BITS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an address or network (10.0.0.0/8)")]
pub struct ProxyParseError;

impl FromStr for Proxy {
    type Err = ProxyParseError;
    fn from_str(text: &str) -> Result<Self, ProxyParseError> {
        let (net, bits) = match text.split_once('/') {
            Some((net, bits)) => (net, Some(bits)),
            None => (text, None),
        };
        let net: IpAddr = net.parse().map_err(|_error| ProxyParseError)?;
        let most = if net.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_error| ProxyParseError)?,
            None => most,
        };
        match (bits > most, net, net.to_canonical()) {
            (true, ..) => Err(ProxyParseError),
            // One that lies in IPv4 as IPv6 writes it is that network of IPv4.
            (false, IpAddr::V6(_), net @ IpAddr::V4(_)) if bits >= MAPPED_BITS => Ok(Self {
                net,
                bits: bits - MAPPED_BITS,
            }),
            (false, ..) => Ok(Self { net, bits }),
        }
    }
}

/// Bits before IPv4's in IPv6's way to write it (`::ffff:0:0/96`).
const MAPPED_BITS: u8 = 96;

impl Proxy {
    /// Whether `address` lies in the network, in whichever of its two ways an IPv4 address is written: a
    /// listener of both families has `::ffff:10.0.0.1` for `10.0.0.1`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = match (self.net, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            (_, canonical) => canonical,
        };
        let differ = match (self.net, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                u128::from((u32::from(a) ^ u32::from(b)).leading_zeros())
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                u128::from((u128::from(a) ^ u128::from(b)).leading_zeros())
            }
            _ => return false,
        };
        differ >= u128::from(self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_should() {
        for (network, address, holds) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.7", "192.168.1.6", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "10.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "::ffff:11.0.0.1", false),
            ("10.0.0.0/8", "::10.0.0.1", false),
            ("::ffff:10.0.0.0/104", "10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.7", "10.0.0.7", true),
            ("::ffff:10.0.0.7", "10.0.0.6", false),
            ("::ffff:0:0/96", "9.9.9.9", true),
            ("::/0", "10.0.0.1", true),
            ("::/0", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "::1", false),
        ] {
            let network: Proxy = network.parse().expect("network");
            assert_eq!(network.contains(address.parse().expect("address")), holds);
        }
        for bad in ["", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/"] {
            assert_eq!(bad.parse::<Proxy>(), Err(ProxyParseError), "{bad}");
        }
    }
}
