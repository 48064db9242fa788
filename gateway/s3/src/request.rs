//! What is known of one request beside its head: ids, where it came from, what became of it. Made
//! by the front, carried in the request's extensions, read by handlers and the close guard.

use crate::front::ConnectionInfo;
use crate::held::Room;
use crate::options::FrontOptions;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::HeaderMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes of an XML document kept for its digests; what is longer is refused before it is read whole.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 3 << 20;

/// One request's shared state.
#[derive(Debug)]
pub(crate) struct RequestState {
    /// `x-amz-request-id`.
    pub(crate) id: String,
    /// `x-amz-id-2`.
    pub(crate) host_id: String,
    /// The client's address, past trusted proxies; none: they say nothing that can be read.
    pub(crate) peer: Option<IpAddr>,
    /// The client spoke TLS to us or to a trusted proxy.
    pub(crate) secure: bool,
    operation: OnceLock<String>,
    account: OnceLock<u64>,
    handled: AtomicBool,
    received: AtomicU64,
    document: Mutex<Option<Vec<Bytes>>>,
    rooms: Mutex<Vec<Room>>,
    answer: OnceLock<Bytes>,
}

impl RequestState {
    pub(crate) fn new(info: &ConnectionInfo, headers: &HeaderMap, options: &FrontOptions) -> Self {
        let (id, host_id) = fresh_ids();
        // A listener of both families writes IPv4's addresses as IPv6's; policies do not.
        let peer = info.peer.ip().to_canonical();
        let believed = options.trusted_proxies.iter().any(|p| p.contains(peer));
        let forwarded = |name: &str| believed.then(|| all_of(headers, name)).flatten();
        let peer = match forwarded("x-forwarded-for") {
            Some(list) => outermost(&list, options),
            None => Some(peer),
        };
        let secure = match forwarded("x-forwarded-proto") {
            Some(scheme) => scheme.trim().eq_ignore_ascii_case("https"),
            None => info.tls,
        };
        Self {
            id,
            host_id,
            peer,
            secure,
            operation: OnceLock::new(),
            account: OnceLock::new(),
            handled: AtomicBool::new(false),
            received: AtomicU64::new(0),
            document: Mutex::new(None),
            rooms: Mutex::default(),
            answer: OnceLock::new(),
        }
    }

    /// The client's address for policies and logs.
    pub(crate) fn peer_text(&self) -> String {
        self.peer
            .map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
    }

    /// The operation s3s resolved; `-` before.
    pub(crate) fn operation(&self) -> &str {
        self.operation.get().map_or("-", String::as_str)
    }
    /// Set by the access check, which runs for every resolved operation.
    pub(crate) fn set_operation(&self, name: &str) {
        self.operation.get_or_init(|| name.to_owned());
    }
    pub(crate) fn account(&self) -> Option<u64> {
        self.account.get().copied()
    }
    pub(crate) fn set_account(&self, account: u64) {
        self.account.get_or_init(|| account);
    }
    /// A handler was reached: its errors are its own; before, a 500 is the body's fault.
    pub(crate) fn set_handled(&self) {
        self.handled.store(true, Ordering::Relaxed);
    }
    pub(crate) fn handled(&self) -> bool {
        self.handled.load(Ordering::Relaxed)
    }
    /// Body bytes taken from the socket.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Keeps room for what is held of the request until it has been served.
    pub(crate) fn hold(&self, room: Room) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.push(room);
    }
    /// What was held is gone: the answer may take its time.
    pub(crate) fn let_go(&self) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.clear();
    }

    /// Counts a piece of the body.
    pub(crate) fn took(&self, piece: &Bytes) {
        self.received
            .fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    /// From now on there is a [`RequestState::document`].
    pub(crate) fn keep_document(&self) {
        *self.document.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }
    /// Keeps a piece of the document.
    pub(crate) fn keep(&self, piece: &Bytes) {
        let mut document = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pieces) = document.as_mut() {
            let kept: usize = pieces.iter().map(Bytes::len).sum();
            if kept + piece.len() > DOCUMENT_BYTES_MAX {
                *document = None;
            } else {
                pieces.push(piece.clone());
            }
        }
    }
    /// The XML to answer in place of what s3s writes, where the answer is a good one.
    pub(crate) fn set_answer(&self, xml: Bytes) {
        self.answer.get_or_init(|| xml);
    }
    pub(crate) fn answer(&self) -> Option<Bytes> {
        self.answer.get().cloned()
    }
    /// The body as it came, where it was kept.
    pub(crate) fn document(&self) -> Option<Vec<Bytes>> {
        self.document
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// All lines of a header as one list: a proxy may add a line of its own behind its client's.
fn all_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// The nearest address that is not a trusted proxy's own; none where it cannot be read.
fn outermost(list: &str, options: &FrontOptions) -> Option<IpAddr> {
    let mut nearest = None;
    for hop in list.rsplit(',') {
        let address = hop_address(hop.trim())?;
        nearest = Some(address);
        let trusted = options.trusted_proxies.iter().any(|p| p.contains(address));
        #[cfg(sabotage)]
        let trusted = trusted || engine_types::sabotage("trust-any-proxy");
        if !trusted {
            break;
        }
    }
    nearest
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|hop| hop.ip());
    let address: IpAddr = hop.parse().ok().or_else(with_port).or_else(bare)?;
    Some(address.to_canonical())
}

/// 16 hex digits, unique in this process and hard to confuse with another's; the long one beside.
fn fresh_ids() -> (String, String) {
    static SEED: OnceLock<[u8; 24]> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = SEED.get_or_init(|| {
        let mut seed = [0; 24];
        // Ids need no secrecy: a failing generator costs uniqueness across processes only.
        if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed).is_err() {
            tracing::warn!("no entropy for request ids");
        }
        seed
    });
    let mut base = [0; 8];
    base.copy_from_slice(&seed[..8]);
    // SplitMix64's finaliser: a bijection, so counts never collide.
    let mut x = u64::from_le_bytes(base).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let mut long = seed.to_vec();
    long.extend_from_slice(&x.to_be_bytes());
    (format!("{x:016X}"), BASE64.encode(long))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::sync::Arc;

    /// Of a request that says nothing.
    pub(crate) fn state() -> Arc<RequestState> {
        let info = ConnectionInfo {
            peer: "127.0.0.1:1".parse().expect("address"),
            tls: false,
        };
        let options = FrontOptions::default();
        Arc::new(RequestState::new(&info, &HeaderMap::new(), &options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(options: &FrontOptions, headers: &[(&'static str, &'static str)]) -> RequestState {
        state_of("10.0.0.9:1", options, headers)
    }

    fn state_of(
        peer: &str,
        options: &FrontOptions,
        headers: &[(&'static str, &'static str)],
    ) -> RequestState {
        let info = ConnectionInfo {
            peer: peer.parse().expect("address"),
            tls: false,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("value"));
        }
        RequestState::new(&info, &map, options)
    }

    #[test]
    fn ids_differ_and_have_their_form() {
        let (a, b) = (fresh_ids(), fresh_ids());
        assert_ne!(a.0, b.0);
        assert_ne!(a.1, b.1);
        assert_eq!(a.0.len(), 16);
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        let head = [
            ("x-forwarded-for", "6.6.6.6, 8.8.8.8, 10.0.0.7"),
            ("x-forwarded-proto", "https"),
        ];
        let strange = state(&FrontOptions::default(), &head);
        assert_eq!(
            (strange.peer_text().as_str(), strange.secure),
            ("10.0.0.9", false)
        );
        let trusted = FrontOptions {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("network")],
            ..FrontOptions::default()
        };
        let known = state(&trusted, &head);
        assert_eq!(
            (known.peer_text().as_str(), known.secure),
            ("8.8.8.8", true)
        );
    }

    #[test]
    fn a_listener_of_both_families_knows_proxies_and_clients_of_ipv4() {
        let trusted = FrontOptions {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("network")],
            ..FrontOptions::default()
        };
        let head = [
            ("x-forwarded-for", "8.8.8.8"),
            ("x-forwarded-proto", "https"),
        ];
        let known = state_of("[::ffff:10.0.0.9]:1", &trusted, &head);
        assert_eq!(
            (known.peer_text().as_str(), known.secure),
            ("8.8.8.8", true)
        );
        let direct = state_of("[::ffff:9.9.9.9]:1", &trusted, &head);
        assert_eq!(
            (direct.peer_text().as_str(), direct.secure),
            ("9.9.9.9", false)
        );
    }

    #[test]
    fn hops_have_ports_or_are_unknown() {
        let trusted = FrontOptions {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("network")],
            ..FrontOptions::default()
        };
        for (lines, peer) in [
            (&["8.8.8.8:443, 10.0.0.7:1"][..], "8.8.8.8"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["6.6.6.6", "8.8.8.8"], "8.8.8.8"),
            (&["10.0.0.7"], "10.0.0.7"),
            (&["8.8.8.8, ::ffff:10.0.0.7"], "8.8.8.8"),
            (&["[::ffff:8.8.8.8]:443"], "8.8.8.8"),
            (&["6.6.6.6, unknown"], "unknown"),
            (&["8.8.8.8, _hidden, 10.0.0.7"], "unknown"),
            (&[""], "unknown"),
            (&["8.8.8.8:port"], "unknown"),
        ] {
            let head: Vec<_> = lines
                .iter()
                .map(|line| ("x-forwarded-for", *line))
                .collect();
            assert_eq!(state(&trusted, &head).peer_text(), peer, "{lines:?}");
        }
    }

    #[test]
    fn a_document_is_kept_to_its_limit_and_not_past_it() {
        let state = state(&FrontOptions::default(), &[]);
        state.keep_document();
        state.keep(&Bytes::from(vec![0; DOCUMENT_BYTES_MAX]));
        assert_eq!(state.document().map(|d| d.len()), Some(1));
        state.keep(&Bytes::from_static(b"x"));
        assert_eq!(state.document(), None);
    }
}
