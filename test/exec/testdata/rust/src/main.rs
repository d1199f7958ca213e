//! A server on the socket that it was started with, by systemd's protocol. It is what
//! the crate listenfd does, in the standard library alone.

use std::env;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::io::FromRawFd;
use std::process;

fn number(name: &str) -> Option<i32> {
    env::var(name).ok()?.parse().ok()
}

fn main() {
    if number("LISTEN_PID").map_or(false, |pid| pid as u32 != process::id()) {
        panic!("LISTEN_PID means another process");
    }
    assert_eq!(number("LISTEN_FDS"), Some(1), "LISTEN_FDS");
    let fd = number("LISTEN_FDS_FIRST_FD").unwrap_or(3);
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    for stream in listener.incoming() {
        let mut stream = stream.expect("accept");
        // One read is all of a short request.
        let _ = stream.read(&mut [0; 4096]);
        let body = format!("pid={} Rust\n", process::id());
        let head = format!("Content-Length: {}\r\nConnection: close", body.len());
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{}\r\n\r\n{}", head, body);
    }
}
