//! Any octets written to the control socket itself: each whole line gets one response, and only what is a request is passed on.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;

use danelaw::serve::control::{Call, ControlHandle, ControlSocket, Request};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// The longest request, bytes.
const LONGEST: usize = 64 << 10;

struct Server {
    path: PathBuf,
    _folder: tempfile::TempDir,
    _runtime: Runtime,
    _handle: ControlHandle,
}

/// It says each request back.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control/danelaw.sock");
    let (send, mut calls) = mpsc::channel::<Call>(1);
    let handle = ControlSocket::bind(&path).unwrap().run(runtime.handle(), send).unwrap();
    runtime.spawn(async move {
        while let Some(call) = calls.recv().await {
            let said = serde_json::to_value(&call.request).map_err(|error| error.to_string());
            let _ = call.reply.send(said);
        }
    });
    Server { path, _folder: folder, _runtime: runtime, _handle: handle }
});

/// Sends it and reads what comes back.
pub fn check(input: &[u8]) {
    let mut stream = UnixStream::connect(&SERVER.path).unwrap();
    // It hangs up behind a line that is too long.
    let _ = stream.write_all(input).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut said = Vec::new();
    let whole = stream.read_to_end(&mut said).is_ok();
    let responses: Vec<&[u8]> = said.split_inclusive(|&octet| octet == b'\n').collect();
    let lines: Vec<&[u8]> = input.split_inclusive(|&octet| octet == b'\n').collect();
    let taken = lines.iter().position(|line| line.len() > LONGEST).map_or(lines.len(), |at| at + 1);
    assert!(responses.len() == taken || !whole && responses.len() < taken, "{} to {taken} lines", responses.len());
    for (line, response) in lines.iter().zip(responses) {
        let response: Value = serde_json::from_slice(response).unwrap();
        let response = response.as_object().filter(|object| object.len() == 1).unwrap();
        let request = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Request>(line).ok());
        match request.filter(|_| line.len() <= LONGEST) {
            Some(request) => {
                let echoed = serde_json::from_value::<Request>(response["ok"].clone()).unwrap();
                assert_eq!(echoed, request);
            }
            None => assert!(response["error"].as_str().is_some_and(|why| !why.is_empty())),
        }
    }
}
