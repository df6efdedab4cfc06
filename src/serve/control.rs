//! The control socket: how `status`, `explain`, `withdraw`, `restore` and `reload` reach the running daemon.
//!
//! One JSON request a line, one JSON response a line, for the socket's owner and root only. Decides nothing: a
//! request goes to whoever reads the channel, and its answer comes back.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Occasionally;
use crate::dns::Name;

/// The longest request, bytes.
const MAX_REQUEST: u64 = 64 << 10;
/// The longest response that a client reads, bytes.
const MAX_RESPONSE: u64 = 64 << 20;
/// Connections at once.
const MAX_CONNECTIONS: usize = 16;
/// A client has so long for each line it sends or takes.
const LINE_TIME: Duration = Duration::from_secs(10);
/// The daemon has so long to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What can be asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Everything: zones, certificates, hosts, findings.
    Status,
    /// Why a host's TLSA is served or withheld.
    Explain {
        /// The MX or service host.
        host: Name,
    },
    /// A zone as it is served, as a zone file.
    Dump {
        /// Its apex.
        zone: Name,
        /// Whether each record says where it comes from.
        #[serde(default)]
        origin: bool,
    },
    /// What a zone's source says and what came by update, as a zone file.
    Export {
        /// Its apex.
        zone: Name,
    },
    /// Take no updates of a zone, until `Thaw`.
    Freeze {
        /// Its apex.
        zone: Name,
    },
    /// Undo `Freeze`.
    Thaw {
        /// Its apex.
        zone: Name,
    },
    /// Take a host's TLSA away, until `Restore`.
    Withdraw {
        /// The host.
        host: Name,
    },
    /// Undo `Withdraw`.
    Restore {
        /// The host.
        host: Name,
    },
    /// The operator's word on a host's rollover.
    Rollover {
        /// The host.
        host: Name,
        /// Which.
        word: Word,
    },
    /// How rollovers stand.
    Rollovers {
        /// Of this host only.
        host: Option<Name>,
    },
    /// The operator's word on a certificate that is ordered here.
    Order {
        /// The host that it is called by.
        host: Name,
        /// Which.
        word: OrderWord,
    },
    /// How orders of certificates stand.
    Orders {
        /// Of this host only.
        host: Option<Name>,
    },
    /// What a host's rollover, or the next one, will do and when.
    Plan {
        /// The host.
        host: Name,
    },
    /// What happened.
    Log {
        /// To this host, zone or owner only.
        subject: Option<String>,
        /// The last so many events.
        limit: u32,
    },
    /// A certificate that will never be presented again, by the beginning of its fingerprint.
    Forget {
        /// The host.
        host: Name,
        /// The beginning of the leaf's SHA-256 in hexadecimal.
        certificate: String,
    },
    /// A DNSSEC key that is lost for good.
    ForgetKey {
        /// The zone.
        zone: Name,
        /// Algorithm and tag, `013+55648`.
        key: String,
    },
    /// Send a message through every channel now, and say what each answered.
    TestMessages,
    /// Read configuration, zones, keys and certificates again.
    Reload,
}

/// What an operator may say of a rollover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Begin again what was given up, and look whether there is a newer certificate.
    Start,
    /// Install and remove nothing until `Resume`.
    Hold,
    /// Undo `Hold`.
    Resume,
    /// Give up what is not installed yet.
    Abort,
}

/// What an operator may say of a certificate's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderWord {
    /// Order now, whether it is time or not.
    Order,
    /// Give up what is under way.
    Cancel,
    /// Take the next key now.
    Rotate {
        /// And revoke the certificate that it replaces, for this reason (RFC 5280 section 5.3.1).
        reason: Option<u8>,
    },
}

impl Request {
    /// Whether it changes what is served.
    pub fn is_change(&self) -> bool {
        match self {
            Request::Status
            | Request::Explain { .. }
            | Request::Dump { .. }
            | Request::Export { .. }
            | Request::Rollovers { .. }
            | Request::Orders { .. }
            | Request::Plan { .. }
            | Request::Log { .. }
            | Request::TestMessages => false,
            Request::Freeze { .. }
            | Request::Thaw { .. }
            | Request::Withdraw { .. }
            | Request::Restore { .. }
            | Request::Rollover { .. }
            | Request::Order { .. }
            | Request::Forget { .. }
            | Request::ForgetKey { .. }
            | Request::Reload => true,
        }
    }
}

/// The daemon's word: a value, or why not.
pub type Reply = Result<Value, String>;

/// A request on its way to the one who answers it.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes. The client may have gone: then sending fails, and that is no error.
    pub reply: oneshot::Sender<Reply>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Response {
    Ok(Value),
    Error(String),
}

/// Why the control socket can't be had or be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another daemon answers there. Don't start.
    #[error("danelaw is already running: it answers at {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// Nobody answers.
    #[error("danelaw is not running: nobody answers at {} (is this the daemon's configuration? see --config)", .0.display())]
    NotRunning(PathBuf),
    /// The socket belongs to somebody else.
    #[error("{}: not allowed; run this as root or as the user that the daemon runs as", .0.display())]
    NotAllowed(PathBuf),
    /// The folder or the socket can't be made, or isn't private.
    #[error("control socket {}: {why}", path.display())]
    Socket {
        /// The socket or its folder.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// Talking broke off.
    #[error("talking to the daemon: {0}")]
    Broken(#[from] io::Error),
    /// What came isn't a response.
    #[error("the daemon's response is not understood: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The daemon refuses, and says why.
    #[error("{0}")]
    Refused(String),
}

/// The bound socket; nobody is served yet.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// The control socket is served while this lives; its drop removes the file.
pub struct ControlHandle {
    task: tokio::task::JoinHandle<()>,
    path: PathBuf,
}

impl Drop for ControlHandle {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ControlSocket {
    /// Binds `path` with mode 0600 in a folder of mode 0700, which is made. What a killed daemon left is replaced.
    pub fn bind(path: &Path) -> Result<ControlSocket, ControlError> {
        private_folder(path.parent().unwrap_or(Path::new(".")))?;
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(|error| socket_error(path, error.to_string()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(ControlSocket { listener, path: path.to_owned() })
    }

    /// Begins to serve on `runtime`; each request goes into `calls`.
    pub fn run(
        self,
        runtime: &tokio::runtime::Handle,
        calls: mpsc::Sender<Call>,
    ) -> Result<ControlHandle, ControlError> {
        let _inside = runtime.enter();
        let listener = tokio::net::UnixListener::from_std(self.listener)?;
        let task = runtime.spawn(accept(listener, calls));
        Ok(ControlHandle { task, path: self.path })
    }
}

fn private_folder(folder: &Path) -> Result<(), ControlError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| socket_error(folder, format!("the folder can't be made: {error}")))?;
    let metadata = std::fs::metadata(folder)?;
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(socket_error(folder, format!("the folder belongs to user {}, and not to us", metadata.uid())));
    }
    if metadata.mode() & 0o077 != 0 {
        let why = format!(
            "others can look into the folder; chmod 700 {} (systemd: RuntimeDirectoryMode=0700)",
            folder.display()
        );
        return Err(socket_error(folder, why));
    }
    Ok(())
}

/// Removes the socket of a daemon that is gone; refuses one that answers, and any other kind of file.
fn clear(path: &Path) -> Result<(), ControlError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(socket_error(path, "a file that is no socket stands there; move it away".to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(std::fs::remove_file(path)?),
        _ => Err(ControlError::AlreadyRunning(path.to_owned())),
    }
}

fn socket_error(path: &Path, why: String) -> ControlError {
    ControlError::Socket { path: path.to_owned(), why }
}

async fn accept(listener: tokio::net::UnixListener, calls: mpsc::Sender<Call>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &calls).await {
                        debug!("control socket: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                static ACCEPTING: Occasionally = Occasionally::new();
                ACCEPTING.run(|before| warn!("control socket: {error} ({before} times before)"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: tokio::net::UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    // The folder's mode keeps others out already; who got past it (a shared mount) is checked by the kernel's word.
    let peer = stream.peer_cred()?.uid();
    let allowed = peer == 0 || peer == rustix::process::geteuid().as_raw();
    let (reader, mut writer) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(MAX_REQUEST);
        if timeout(LINE_TIME, limited.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        let response = match line.strip_suffix(b"\n") {
            _ if !allowed => Response::Error(format!("user {peer} is neither root nor the daemon's user")),
            None => Response::Error(format!("a request is one line of at most {MAX_REQUEST} bytes")),
            Some(line) => answer(line, calls).await,
        };
        let last = !allowed || !line.ends_with(b"\n");
        let mut bytes = serde_json::to_vec(&response)?;
        bytes.push(b'\n');
        timeout(LINE_TIME, writer.write_all(&bytes)).await??;
        if last {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], calls: &mpsc::Sender<Call>) -> Response {
    let request = match serde_json::from_slice::<Request>(line) {
        Ok(request) => request,
        Err(error) => return Response::Error(format!("not a request: {error}")),
    };
    let (reply, answered) = oneshot::channel();
    let asked = async {
        calls.send(Call { request, reply }).await.ok()?;
        answered.await.ok()
    };
    match timeout(ANSWER_TIME, asked).await {
        Ok(Some(Ok(value))) => Response::Ok(value),
        Ok(Some(Err(why))) => Response::Error(why),
        Ok(None) => Response::Error("the daemon is shutting down".to_owned()),
        Err(_) => Response::Error(format!("no answer within {} seconds", ANSWER_TIME.as_secs())),
    }
}

/// Asks the daemon at `path`, and waits for its answer.
pub fn call(path: &Path, request: &Request) -> Result<Value, ControlError> {
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotRunning(path.to_owned()),
        io::ErrorKind::PermissionDenied => ControlError::NotAllowed(path.to_owned()),
        _ => socket_error(path, error.to_string()),
    })?;
    stream.set_read_timeout(Some(ANSWER_TIME + LINE_TIME))?;
    stream.set_write_timeout(Some(LINE_TIME))?;
    let mut bytes = serde_json::to_vec(request)?;
    bytes.push(b'\n');
    stream.write_all(&bytes)?;
    let mut line = Vec::new();
    let read = io::BufReader::new(stream.take(MAX_RESPONSE)).read_until(b'\n', &mut line);
    read.map_err(|error| match error.kind() {
        // What a read timeout is called.
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it doesn't answer; is it overloaded?"),
        _ => error,
    })?;
    if !line.ends_with(b"\n") {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    match serde_json::from_slice(&line)? {
        Response::Ok(value) => Ok(value),
        Response::Error(why) => Err(ControlError::Refused(why)),
    }
}
