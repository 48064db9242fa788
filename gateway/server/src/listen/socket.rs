//! What is asked of the kernel for a listener and for each connection.

use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait in the kernel until they are accepted; it takes `net.core.somaxconn` (4,096
/// where nobody changed it) if that is fewer. Tokio's own 1,024 is what a thousand clients that start
/// together fill: the next handshakes are then lost or, from SYN cookies, reset.
const BACKLOG: u32 = 4_096;

/// Bytes that wait unsent in the kernel for a client that does not read. Left alone it takes 4 MiB a
/// connection (`tcp_wmem`): two thousand stalled readers would hold gigabytes that no budget of ours
/// sees. What is on its way is not counted, so a fast client far away is not slowed.
pub(super) const UNSENT_BYTES_MAX: u32 = 256 << 10;

/// Binds and listens; a port of which only ended connections are left is free.
///
/// # Errors
///
/// What the kernel says: in use, not ours, not allowed.
pub(crate) fn bound(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A peer that says nothing for so long is asked by the kernel whether it is there …
const ALIVE_AFTER: Duration = Duration::from_mins(1);
/// … and asked so often again, each time after so long, before it counts as gone: while a request
/// runs nobody else would notice.
const ALIVE_AGAIN: (u32, Duration) = (4, Duration::from_secs(15));

/// Answers leave at once, little waits behind them, and who is gone is found gone.
pub(crate) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (times, interval) = ALIVE_AGAIN;
    let alive = TcpKeepalive::new().with_time(ALIVE_AFTER);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&alive.with_interval(interval).with_retries(times))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel takes for a peer that does not read.
    async fn taken(tuned: bool) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        peer.set_recv_buffer_size(16 << 10).unwrap();
        peer.connect(&listener.local_addr().unwrap().into())
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        if tuned {
            tune(&stream).unwrap();
        }
        stream.writable().await.unwrap();
        let (piece, mut taken) = (vec![0; 64 << 10], 0);
        while let Ok(more) = stream.try_write(&piece) {
            taken += more;
        }
        taken
    }

    #[tokio::test]
    async fn little_waits_in_the_kernel_for_a_client_that_does_not_read() {
        let (tuned, left_alone) = (taken(true).await, taken(false).await);
        let limit = UNSENT_BYTES_MAX as usize;
        // One write may go over it, and what the peer's own buffer takes is on top.
        assert!(tuned >= limit / 2 && tuned <= 2 * limit, "{tuned}");
        assert!(left_alone > tuned, "{left_alone}");
    }

    #[tokio::test]
    async fn the_kernel_asks_whether_a_silent_peer_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        tune(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), ALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), ALIVE_AGAIN.0);
    }

    #[tokio::test]
    async fn clients_that_start_together_all_find_a_place_before_the_first_is_accepted() {
        // Each takes a handle here: as many as the server lets itself have.
        crate::handles::connections(1).unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let waiting = BACKLOG.min(most.trim().parse().unwrap());
        let listener = bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (waiting, deadline) = (waiting as usize / 2, Duration::from_secs(20));
        let mut clients = Vec::with_capacity(waiting);
        for _ in 0..waiting {
            let client = tokio::time::timeout(deadline, TcpStream::connect(address));
            clients.push(client.await.expect("no place").unwrap());
        }
        for _ in clients {
            listener.accept().await.unwrap();
        }
    }
}
