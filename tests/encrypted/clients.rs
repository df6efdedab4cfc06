//! Clients of each transport, of rustls, h2 and quinn, that trust the laboratory's certificate and no other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use danelaw::serve::Transport;
use http::{Method, Request, StatusCode};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::common::wire;
use super::laboratory::{HOST, Laboratory};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn config(trusted: &[CertificateDer<'static>], protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// A connection over which DNS messages go, after its handshake.
pub type Dot = StreamOwned<ClientConnection, TcpStream>;

pub fn dot(server: SocketAddr, config: ClientConfig) -> std::io::Result<Dot> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(HOST).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

pub fn read_frame(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub async fn doh(server: SocketAddr, config: ClientConfig) -> std::io::Result<h2::client::SendRequest<Bytes>> {
    let stream = tokio::net::TcpStream::connect(server).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from(HOST).unwrap(), stream).await?;
    let (send, connection) = h2::client::handshake(stream).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(send)
}

pub type Said = (StatusCode, http::HeaderMap, Vec<u8>);

/// A request and what came back.
pub async fn request(
    client: &h2::client::SendRequest<Bytes>,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Said, h2::Error> {
    let mut request = Request::builder().method(method).uri(format!("https://{HOST}{path}"));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let mut client = client.clone().ready().await?;
    let (response, mut send) = client.send_request(request.body(()).unwrap(), body.is_none())?;
    if let Some(body) = body {
        // The server may have refused it before it came.
        let _ = send.send_data(Bytes::copy_from_slice(body), true);
    }
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    Ok((head.status, head.headers, body))
}

pub const MEDIA_TYPE: &str = "application/dns-message";

pub fn get(query: &[u8]) -> String {
    format!("/dns-query?dns={}", data_encoding::BASE64URL_NOPAD.encode(query))
}

pub async fn doq(server: SocketAddr, config: ClientConfig) -> Result<quinn::Connection, quinn::ConnectionError> {
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    endpoint.connect(server, HOST).unwrap().await
}

/// Sends octets on a stream of their own and gives the octets that come back.
pub async fn doq_octets(connection: &quinn::Connection, octets: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(octets).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(70_000).await.ok()
}

/// The connections of one client, one of each transport.
pub struct Client<'a> {
    laboratory: &'a Laboratory,
    dot: Dot,
    doh: h2::client::SendRequest<Bytes>,
    doq: quinn::Connection,
}

impl Client<'_> {
    pub fn new(laboratory: &Laboratory) -> Client<'_> {
        let trusted = laboratory.presented.chain().unwrap();
        let address = |transport| laboratory.address(transport);
        let dot = dot(address(Transport::Tls), config(&trusted, b"dot")).unwrap();
        let runtime = &laboratory.runtime;
        let doh = runtime.block_on(doh(address(Transport::Https), config(&trusted, b"h2"))).unwrap();
        let doq = runtime.block_on(doq(address(Transport::Quic), config(&trusted, b"doq"))).unwrap();
        Client { laboratory, dot, doh, doq }
    }

    /// What each transport answers to a query, UDP first.
    pub fn ask_all(&mut self, query: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let plain = self.laboratory.plain.local_addrs()[0];
        let runtime = &self.laboratory.runtime;
        let http = |method, path: &str, content_type, body| {
            let (status, _, body) = runtime.block_on(request(&self.doh, method, path, content_type, body)).unwrap();
            assert_eq!(status, StatusCode::OK);
            body
        };
        self.dot.write_all(&framed(query)).unwrap();
        let quic = runtime.block_on(doq_octets(&self.doq, &framed(query))).unwrap();
        vec![
            ("UDP", wire::exchange(plain, query, false).unwrap()),
            ("TCP", wire::exchange(plain, query, true).unwrap()),
            ("TLS", read_frame(&mut self.dot).unwrap()),
            ("HTTPS GET", http(Method::GET, &get(query), None, None)),
            ("HTTPS POST", http(Method::POST, "/dns-query", Some(MEDIA_TYPE), Some(query))),
            ("QUIC", read_frame(&mut &quic[..]).unwrap()),
        ]
    }
}
