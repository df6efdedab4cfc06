//! Many questions to one server: some under way at a time, each answer found again by its ID.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::common::wire::read_message;

/// How many questions are under way at once: what a socket's buffer holds of the longest answers.
const WINDOW: usize = 64;
/// How often a question is sent that gets no answer within [`WAIT`].
const TRIES: usize = 25;
const WAIT: Duration = Duration::from_millis(200);

/// Asks each question over UDP. They must be [`number`]ed. An answer is empty from where the server has stopped answering.
pub fn udp(server: SocketAddr, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let mut answers = Vec::with_capacity(queries.len());
    for window in queries.chunks(WINDOW) {
        let mut got: Vec<Option<Vec<u8>>> = vec![None; window.len()];
        for _ in 0..TRIES {
            let missing: Vec<usize> = (0..window.len()).filter(|&place| got[place].is_none()).collect();
            for place in missing {
                socket.send(&window[place]).unwrap();
            }
            let mut buffer = [0; 65_535];
            while got.iter().any(Option::is_none) {
                let Ok(len) = socket.recv(&mut buffer) else { break };
                // A late answer to a question of a window before is for none of this one.
                if let Some(slot) = got.get_mut(place(&buffer[..len], answers.len())) {
                    *slot = Some(buffer[..len].to_vec());
                }
            }
        }
        let hangs = got.iter().any(Option::is_none);
        answers.extend(got.into_iter().map(Option::unwrap_or_default));
        if hangs {
            break;
        }
    }
    answers.resize(queries.len(), Vec::new());
    answers
}

/// The same over TCP.
pub fn tcp(server: SocketAddr, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    stream(queries, || {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    })
}

/// The same over connections.
pub fn stream<S: Read + Write>(queries: &[Vec<u8>], connect: impl Fn() -> S) -> Vec<Vec<u8>> {
    let mut answers = Vec::with_capacity(queries.len());
    let mut stream = connect();
    for (number, window) in queries.chunks(WINDOW).enumerate() {
        // NSD and Knot close a connection that asked much.
        if number % 8 == 7 {
            stream = connect();
        }
        let mut got = vec![Vec::new(); window.len()];
        let framed = window.iter().flat_map(|query| [&(query.len() as u16).to_be_bytes(), &query[..]].concat());
        stream.write_all(&framed.collect::<Vec<u8>>()).unwrap();
        for _ in window {
            let answer = read_message(&mut stream).unwrap();
            let place = place(&answer, answers.len());
            got[place] = answer;
        }
        answers.extend(got);
    }
    answers
}

/// How many streams of one connection are open at once: danelaw takes 32, and HTTP/2 begins before it is told so.
const STREAMS: usize = 16;

/// Asks so many questions at the side of each other.
pub fn side_by_side<F>(runtime: &Runtime, count: usize, ask: impl Fn(usize) -> F) -> Vec<Vec<u8>>
where
    F: Future<Output = Vec<u8>> + Send + 'static,
{
    let mut answers = vec![Vec::new(); count];
    runtime.block_on(async {
        for start in (0..count).step_by(STREAMS) {
            let mut asking = JoinSet::new();
            for place in start..count.min(start + STREAMS) {
                let asked = ask(place);
                asking.spawn(async move { (place, asked.await) });
            }
            while let Some(answered) = asking.join_next().await {
                let (place, answer) = answered.unwrap();
                answers[place] = answer;
            }
        }
    });
    answers
}

/// Gives each question its ID.
pub fn number(queries: &mut [Vec<u8>]) {
    for (number, query) in queries.iter_mut().enumerate() {
        query[..2].copy_from_slice(&(number as u16).to_be_bytes());
    }
}

/// Which question of the window that begins at `start` an answer is for.
fn place(answer: &[u8], start: usize) -> usize {
    usize::from(u16::from_be_bytes([answer[0], answer[1]]).wrapping_sub(start as u16))
}
