//! Over real sockets on port 0, with an answerer that is a mirror.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use super::control::{Call, ControlError, ControlHandle, ControlSocket, Request, call};
use super::*;

/// Sends a query back as a response; panics at `boom`, is silent at `hush`, says 40,000 octets to `long`, with its ID, and sends `late` back
/// from another thread some time later.
pub(super) struct Mirror;

impl Answerer for Mirror {
    fn answer(&self, _: SocketAddr, transport: Transport, query: &[u8], out: &mut [u8]) -> Reply {
        let length = match query.get(12..) {
            None | Some(b"hush") => None,
            Some(b"boom") => panic!("asked to"),
            Some(b"late") => {
                let mut response = query.to_vec();
                response[2] = 0x82;
                let say = |respond: Respond| {
                    std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(30));
                        respond(&response);
                    });
                };
                return Reply { later: Some(Later::new(say)), ..Reply::default() };
            }
            Some(b"long") => {
                out[..HEADER].copy_from_slice(&query[..HEADER]);
                Some(40_000)
            }
            Some(_) => {
                out[..query.len()].copy_from_slice(query);
                out[2] = if transport == Transport::Tcp { 0x81 } else { 0x80 };
                Some(query.len())
            }
        };
        length.into()
    }

    fn batch(&self, work: &mut dyn FnMut(&dyn Answerer)) {
        work(self);
    }
}

pub(super) fn query(id: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

pub(super) fn framed(query: &[u8]) -> Vec<u8> {
    let mut bytes = (query.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(query);
    bytes
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(super) fn serve_on(address: &str, limits: TcpLimits) -> Handle {
    serve_and_count(address, limits, &Counters::default())
}

pub(super) fn serve_and_count(address: &str, limits: TcpLimits, counters: &Counters) -> Handle {
    let listeners = Listeners::bind(&[address.parse().unwrap()], 2).unwrap();
    let mirror: Arc<dyn Answerer> = Arc::new(Mirror);
    listeners.run_with(&mirror, counters, limits).unwrap()
}

pub(super) fn udp_client(server: SocketAddr) -> UdpSocket {
    let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(local).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

pub(super) fn tcp_client(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

pub(super) fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut frame).unwrap();
    frame
}

/// Whether the server closed the connection, within the client's read timeout.
pub(super) fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
    }
}

/// Whether a new connection is turned away; when it isn't, it gets its answer.
fn is_closed_at_once(stream: &mut TcpStream) -> bool {
    let asked = stream.write_all(&framed(&query(1, b"x")));
    asked.is_err() || stream.read_exact(&mut [0; 15]).is_err()
}

#[test]
fn udp_and_tcp_share_a_free_port_and_both_answer_on_ipv4_and_ipv6() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let handle = serve_on(address, TcpLimits::default());
        let server = handle.local_addrs()[0];
        assert_ne!(server.port(), 0);
        for _ in 0..8 {
            // Several client ports, so that both sockets of the group get packets.
            let client = udp_client(server);
            client.send(&query(7, b"hello")).unwrap();
            let mut response = [0; 512];
            let length = client.recv(&mut response).unwrap();
            assert_eq!((&response[..2], length), (&[0, 7][..], 17));
        }
        let mut client = tcp_client(server);
        client.write_all(&framed(&query(8, b"hello"))).unwrap();
        assert_eq!(read_frame(&mut client)[..3], [0, 8, 0x81]);
        handle.shutdown();
    }
}

#[test]
fn a_response_that_comes_later_holds_nobody_up_and_keeps_its_place_on_a_stream() {
    let counters = Counters::default();
    let handle = serve_and_count("0.0.0.0:0", TcpLimits::default(), &counters);
    let port = handle.local_addrs()[0].port();
    let client = udp_client(SocketAddr::new([127, 0, 0, 2].into(), port));
    client.send(&query(1, b"late")).unwrap();
    client.send(&query(2, b"soon")).unwrap();
    let mut response = [0; 512];
    for id in [2, 1] {
        assert_eq!(client.recv(&mut response).unwrap(), 16);
        assert_eq!(response[..2], [0, id]);
    }
    let mut client = tcp_client(SocketAddr::new([127, 0, 0, 1].into(), port));
    let mut other = tcp_client(SocketAddr::new([127, 0, 0, 1].into(), port));
    let queries = [query(1, b"long"), query(2, b"late"), query(3, b"soon"), query(4, b"late"), query(5, b"soon")];
    client.write_all(&queries.map(|query| framed(&query)).concat()).unwrap();
    other.write_all(&framed(&query(6, b"soon"))).unwrap();
    assert_eq!(read_frame(&mut other)[..2], [0, 6]);
    for id in 1..=5 {
        assert_eq!(read_frame(&mut client)[..2], [0, id]);
    }
    client.write_all(&framed(&query(7, b"late"))).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_frame(&mut client)[..3], [0, 7, 0x82], "whoever says no more still listens");
    assert!(is_closed(&mut client));
    // One that has gone meanwhile is nobody's, and its place is another's.
    for _ in 0..50 {
        let mut gone = tcp_client(SocketAddr::new([127, 0, 0, 1].into(), port));
        gone.write_all(&framed(&query(8, b"late"))).unwrap();
        drop(gone);
        other.write_all(&framed(&query(9, b"late"))).unwrap();
        assert_eq!(read_frame(&mut other)[..2], [0, 9]);
    }
    assert_eq!(counters.statistics().unanswerable, 0);
}

#[test]
fn a_socket_on_every_address_answers_from_the_one_that_was_asked() {
    for (address, asked) in [("0.0.0.0:0", ["127.0.0.1", "127.0.0.2", "127.3.2.1"]), ("[::]:0", ["::1"; 3])] {
        let handle = serve_on(address, TcpLimits::default());
        for asked in asked {
            // A connected client takes responses from the very address that it asked, and no other.
            let client = udp_client(SocketAddr::new(asked.parse().unwrap(), handle.local_addrs()[0].port()));
            client.send(&query(7, b"hello")).unwrap();
            assert_eq!(client.recv(&mut [0; 512]).unwrap(), 17, "{asked}");
        }
    }
}

#[test]
fn a_panic_while_answering_costs_one_query_and_silence_is_silence() {
    let handle = serve_on("127.0.0.1:0", TcpLimits::default());
    let client = udp_client(handle.local_addrs()[0]);
    client.send(&[1]).unwrap();
    client.send(&[]).unwrap();
    client.send(&query(1, b"hush")).unwrap();
    client.send(&query(2, b"boom")).unwrap();
    let mut response = [0; 512];
    assert_eq!(client.recv(&mut response).unwrap(), HEADER);
    assert_eq!(response[..4], [0, 2, 0x80, 2], "SERVFAIL to the one that panicked");
    let mut stream = tcp_client(handle.local_addrs()[0]);
    stream.write_all(&framed(&query(3, b"boom"))).unwrap();
    assert_eq!(read_frame(&mut stream)[3], 2);
    stream.write_all(&framed(&query(4, b"next"))).unwrap();
    assert_eq!(read_frame(&mut stream)[..2], [0, 4]);
}

#[test]
fn a_tcp_connection_takes_pipelined_and_split_queries_and_big_responses() {
    let handle = serve_on("127.0.0.1:0", TcpLimits::default());
    let mut stream = tcp_client(handle.local_addrs()[0]);
    let mut bytes = framed(&query(1, b"one"));
    bytes.extend(framed(&query(2, b"hush")));
    bytes.extend(framed(&query(3, b"long")));
    bytes.extend(framed(&query(4, &[7; 60_000])));
    for chunk in [&bytes[..1], &bytes[1..9], &bytes[9..]] {
        stream.write_all(chunk).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read_frame(&mut stream)[..2], [0, 1]);
    assert_eq!(read_frame(&mut stream).len(), 40_000);
    assert_eq!(read_frame(&mut stream).len(), 60_012);
}

#[test]
fn idle_slow_and_oversized_tcp_clients_are_closed() {
    let limits = TcpLimits {
        idle: Duration::from_millis(300),
        receive: Duration::from_millis(300),
        send: Duration::from_millis(300),
        query_size: 1000,
        ..TcpLimits::default()
    };
    let handle = serve_on("127.0.0.1:0", limits);
    let server = handle.local_addrs()[0];
    let mut idle = tcp_client(server);
    let mut slow = tcp_client(server);
    slow.write_all(&[0, 20, 1]).unwrap();
    let mut big = tcp_client(server);
    big.write_all(&framed(&query(1, &[0; 2000]))).unwrap();
    let mut tiny = tcp_client(server);
    tiny.write_all(&[0, 0]).unwrap();
    for (name, client) in [("idle", &mut idle), ("slow", &mut slow), ("big", &mut big), ("tiny", &mut tiny)] {
        assert!(is_closed(client), "{name}");
    }
    // A client that asks and never reads is closed once its window is full.
    let mut deaf = tcp_client(server);
    deaf.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let ask = framed(&query(1, b"long"));
    let ended = (0..1_000_000).find_map(|_| deaf.write_all(&ask).err()).expect("closed");
    assert!(!matches!(ended.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{ended}");
}

#[test]
fn connections_beyond_the_limits_are_turned_away_and_places_come_back() {
    let limits = TcpLimits { connections: 3, connections_per_address: 2, ..TcpLimits::default() };
    let handle = serve_on("127.0.0.1:0", limits);
    let server = handle.local_addrs()[0];
    let ask = |stream: &mut TcpStream| {
        stream.write_all(&framed(&query(1, b"x"))).unwrap();
        assert_eq!(read_frame(stream).len(), 13);
    };
    let (mut first, mut second) = (tcp_client(server), tcp_client(server));
    ask(&mut first);
    ask(&mut second);
    assert!(is_closed(&mut tcp_client(server)), "the third of one address");
    drop(first);
    let begun = Instant::now();
    while is_closed_at_once(&mut tcp_client(server)) {
        assert!(begun.elapsed() < Duration::from_secs(5), "a place comes back");
    }
}

#[test]
fn shutdown_closes_connections_and_frees_the_port() {
    let handle = serve_on("127.0.0.1:0", TcpLimits::default());
    let server = handle.local_addrs()[0];
    let mut stream = tcp_client(server);
    stream.write_all(&framed(&query(1, b"x"))).unwrap();
    read_frame(&mut stream);
    let begun = Instant::now();
    handle.shutdown();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(is_closed(&mut stream));
    drop(stream);
    std::thread::sleep(Duration::from_millis(50));
    Listeners::bind(&[server], 1).unwrap();
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let first = Listeners::bind(&["127.0.0.1:0".parse().unwrap()], 2).unwrap();
    let taken = first.local_addrs();
    let message = Listeners::bind(&taken, 2).err().unwrap().to_string();
    assert!(message.contains("another process has it"), "{message}");
    // A server that shares its UDP port with anybody is found out too.
    let socket = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket
    };
    let messages: Vec<String> = std::iter::repeat_with(socket)
        .take(20)
        .map(|socket| {
            let taken = socket.local_addr().unwrap().as_socket().unwrap();
            Listeners::bind(&[taken], 2).err().unwrap().to_string()
        })
        .collect();
    // Other tests' TCP connections may have some of these ports too.
    assert!(messages.iter().any(|message| message.contains("(UDP)")), "{messages:?}");
    let message = Listeners::bind(&["192.0.2.1:5300".parse().unwrap()], 1).err().unwrap().to_string();
    assert!(message.contains("not an address of this machine"), "{message}");
}

fn control(folder: &std::path::Path, runtime: &tokio::runtime::Runtime) -> (std::path::PathBuf, ControlHandle) {
    let path = folder.join("control/danelaw.sock");
    let (calls, mut received) = mpsc::channel::<Call>(4);
    let handle = ControlSocket::bind(&path).unwrap().run(runtime.handle(), calls).unwrap();
    runtime.spawn(async move {
        while let Some(Call { request, reply }) = received.recv().await {
            let answer = match request {
                Request::Status => Ok(json!({"zones": 3})),
                Request::Explain { host } => Ok(json!(host.to_string())),
                other if other.is_change() => Err(format!("can't {other:?}")),
                _ => continue,
            };
            let _ = reply.send(answer);
        }
    });
    (path, handle)
}

#[test]
fn a_control_request_gets_its_answer_or_the_reason() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let (path, _handle) = control(folder.path(), &runtime);
    assert_eq!(call(&path, &Request::Status).unwrap(), json!({"zones": 3}));
    let host = "mail.example.org".parse().unwrap();
    assert_eq!(call(&path, &Request::Explain { host }).unwrap(), json!("mail.example.org."));
    let refused = call(&path, &Request::Reload).unwrap_err();
    assert!(matches!(&refused, ControlError::Refused(why) if why.contains("can't Reload")), "{refused}");
}

#[test]
fn nonsense_on_the_control_socket_is_answered_and_ends_nothing() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let (path, _handle) = control(folder.path(), &runtime);
    let mut stream = UnixStream::connect(&path).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |text: &str| {
        stream.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    for text in ["{}\n", "no\n", "{\"command\":\"explain\"}\n", "{\"command\":\"stop\"}\n", "\n"] {
        assert!(ask(text).starts_with("{\"error\":\"not a request"), "{text}");
    }
    assert_eq!(ask("{\"command\":\"status\"}\n"), "{\"ok\":{\"zones\":3}}\n");
    assert!(ask(&"x".repeat(65 << 10)).contains("one line of at most"));
    assert_eq!(call(&path, &Request::Status).unwrap(), json!({"zones": 3}));
}

#[test]
fn the_control_socket_is_private_replaces_a_dead_one_and_refuses_a_live_one() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let path = folder.path().join("control/danelaw.sock");
    let message = call(&path, &Request::Status).unwrap_err().to_string();
    assert!(message.contains("not running"), "{message}");
    // What kill -9 leaves: a file that nobody listens at.
    std::fs::DirBuilder::new().create(path.parent().unwrap()).unwrap();
    std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o700)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(call(&path, &Request::Status), Err(ControlError::NotRunning(_))));
    let (path, handle) = control(folder.path(), &runtime);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(matches!(ControlSocket::bind(&path), Err(ControlError::AlreadyRunning(_))));
    assert_eq!(call(&path, &Request::Status).unwrap(), json!({"zones": 3}));
    drop(handle);
    assert!(!path.exists());
    std::fs::write(&path, "mine").unwrap();
    assert!(ControlSocket::bind(&path).err().unwrap().to_string().contains("no socket"));
    std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(ControlSocket::bind(&path).err().unwrap().to_string().contains("chmod 700"));
}
