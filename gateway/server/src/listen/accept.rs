//! Gives each connection of a port a task of its own, some at once, and ends them in order.

use crate::shutdown::{CUT_GRACE, Ending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs `connection` on whoever connects, on `places` at once: more wait in the kernel's queue. From
/// when `ending` begins nobody is accepted; after `drain` what still runs is cut.
pub(crate) async fn accept<F: Future<Output = ()> + Send + 'static>(
    socket: TcpListener,
    places: usize,
    mut ending: Ending,
    drain: Duration,
    connection: impl Fn(TcpStream, SocketAddr, Ending) -> F,
) {
    let places = Arc::new(Semaphore::new(places));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let place = tokio::select! {
            () = ending.begun() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = ending.begun() => break,
            accepted = socket.accept() => accepted,
        };
        let (Ok(place), Ok((stream, peer))) = (place, accepted) else {
            // Out of file handles: give running connections time to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (connection, cut) = (connection(stream, peer, ending.clone()), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }
    let port = socket.local_addr().map_or(0, |address| address.port());
    drop(socket);
    connections.close();
    if tokio::time::timeout(drain, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            port,
            left = connections.len(),
            "drain time is over; cutting what still runs"
        );
        cut.cancel();
        if tokio::time::timeout(CUT_GRACE, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(port, left = connections.len(), "connections did not end");
        }
    }
}
