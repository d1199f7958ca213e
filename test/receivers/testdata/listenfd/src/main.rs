//! A service on the crate listenfd.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::thread;

use listenfd::ListenFd;

fn answer<S: Read + Write>(conn: S) -> Result<()> {
    let mut conn = BufReader::new(conn);
    let mut line = String::new();
    while conn.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(
        conn.get_mut(),
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\npid {}\n",
        std::process::id()
    )
}

fn main() -> Result<()> {
    let mut fds = ListenFd::from_env();
    let tcp = fds.take_tcp_listener(0)?.expect("the first is a TCP listener");
    let unix = fds.take_unix_listener(1)?.expect("the second is a unix listener");
    // From a Go program they come non-blocking. That belongs to the socket, not to the
    // descriptor, so this changes it for all who hold it: here nobody else does for long.
    tcp.set_nonblocking(false)?;
    unix.set_nonblocking(false)?;
    thread::spawn(move || {
        for conn in unix.incoming() {
            let _ = answer(conn.expect("a connection"));
        }
    });
    for conn in tcp.incoming() {
        answer(conn?)?;
    }
    Ok(())
}
