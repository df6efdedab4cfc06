//! A hickory server around a handler, over UDP and TCP on one free port.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::server::RequestHandler;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;

/// Serves as long as the runtime lives.
pub fn serve<H: RequestHandler>(handler: H) -> (SocketAddr, Runtime) {
    let runtime = Runtime::new().unwrap();
    let (tcp, udp) = runtime.block_on(sockets());
    let address = tcp.local_addr().unwrap();
    runtime.spawn(async move {
        let mut server = Server::new(handler);
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 64);
        server.block_until_done().await
    });
    (address, runtime)
}

/// Both on one port; another test may have taken it for UDP.
async fn sockets() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (tcp, udp);
        }
    }
}
