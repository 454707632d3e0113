//! A line between the host and the endpoint that can go dead, as when a firewall forgets its connections: nothing comes through
//! any more, and nobody learns of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// The bytes of a connection that are kept, at least: more than the first message of TLS, which comes in pieces.
const FIRST_BYTES: usize = 4096;

/// See the module. Dropping it ends all connections and waits for its threads.
pub struct Relay {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_over: bool,
    connections: Vec<Connection>,
}

struct Connection {
    to_host: TcpStream,
    to_endpoint: TcpStream,
    is_dead: bool,
    /// The first bytes that the host sent.
    first: Vec<u8>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Begins to relay connections to the endpoint.
    pub fn start(endpoint: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its port");
        let state = Arc::new(Mutex::new(State::default()));
        let acceptor = thread::spawn({
            let state = state.clone();
            move || {
                for accepted in listener.incoming() {
                    let mut locked = state.lock().expect("no panic");
                    if locked.is_over {
                        return;
                    }
                    let to_host = accepted.expect("a connection");
                    let to_endpoint = TcpStream::connect(endpoint).expect("the endpoint");
                    let number = locked.connections.len();
                    let ways = [(&to_host, &to_endpoint, true), (&to_endpoint, &to_host, false)];
                    let threads = ways.map(|(from, to, is_of_host)| {
                        let (from, to) = (from.try_clone().expect("it"), to.try_clone().expect("it"));
                        let state = state.clone();
                        thread::spawn(move || carry(from, to, (number, is_of_host), &state))
                    });
                    locked.connections.push(Connection {
                        to_host,
                        to_endpoint,
                        is_dead: false,
                        first: Vec::new(),
                        threads: threads.into(),
                    });
                }
            }
        });
        Relay { addr, state, acceptor: Some(acceptor) }
    }

    /// Where the host connects to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The connections so far.
    pub fn connections(&self) -> usize {
        self.state.lock().expect("no panic").connections.len()
    }

    /// The first bytes that the host sent on each connection.
    pub fn first_bytes(&self) -> Vec<Vec<u8>> {
        self.state.lock().expect("no panic").connections.iter().map(|one| one.first.clone()).collect()
    }

    /// From now on nothing comes through on the present connections, in either direction. New ones work.
    pub fn kill_connections(&self) {
        self.state.lock().expect("no panic").connections.iter_mut().for_each(|one| one.is_dead = true);
    }
}

/// Carries bytes one way until the connection ends.
fn carry(mut from: TcpStream, mut to: TcpStream, (number, is_of_host): (usize, bool), state: &Mutex<State>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let mut locked = state.lock().expect("no panic");
        let connection = &mut locked.connections[number];
        if is_of_host && connection.first.len() < FIRST_BYTES {
            connection.first.extend_from_slice(&bytes[..read]);
        }
        if connection.is_dead {
            continue;
        }
        drop(locked);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    if !state.lock().expect("no panic").connections[number].is_dead {
        // The other side may have gone already.
        let _ = to.shutdown(Shutdown::Both);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.state.lock().expect("no panic");
            state.is_over = true;
            // Wakes the acceptor.
            drop(TcpStream::connect(self.addr));
            for connection in &state.connections {
                let _ = connection.to_host.shutdown(Shutdown::Both);
                let _ = connection.to_endpoint.shutdown(Shutdown::Both);
            }
            state.connections.iter_mut().flat_map(|one| one.threads.drain(..)).collect::<Vec<_>>()
        };
        let threads = connections.into_iter().chain(self.acceptor.take());
        threads.for_each(|thread| thread.join().expect("no panic"));
    }
}
