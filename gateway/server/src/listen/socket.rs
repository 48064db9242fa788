//! What is asked of the kernel for each connection.

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that wait unsent in the kernel for a client that does not read. Left alone it takes 4 MiB a
/// connection (`tcp_wmem`): two thousand stalled readers would hold gigabytes that no budget of ours
/// sees. What is on its way is not counted, so a fast client far away is not slowed.
pub(super) const UNSENT_BYTES_MAX: u32 = 256 << 10;

/// Answers leave at once, and little waits behind them.
pub(super) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

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
}
