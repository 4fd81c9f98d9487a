//! Who may still connect to a listener that is about to close, on Linux.

use std::io;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

/// Lets nobody begin to connect any more: the packet that asks for it (SYN without ACK, byte 13 of the head) gets no answer. Whoever
/// sent it asks again after a second, and reaches the next server, or hears that nobody listens here. Connections in the queue, and those
/// that are half made, are not touched.
pub(super) fn hold_off(listener: &impl AsFd) -> io::Result<()> {
    // Linux, Documentation/networking/filter.rst: code, where to jump when a comparison holds and when not, operand.
    const PROGRAM: [(u16, u8, u8, u32); 5] = [
        // Load the flags, keep SYN and ACK of them, compare with SYN alone.
        (0x30, 0, 0, 13),
        (0x54, 0, 0, 0x12),
        (0x15, 0, 1, 0x02),
        // Equal: none of the packet passes.
        (0x06, 0, 0, 0),
        // Else all of it.
        (0x06, 0, 0, u32::MAX),
    ];
    let program = PROGRAM.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value));
    SockRef::from(listener).attach_filter(&program)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn at_the_end_nobody_is_connected_who_would_be_reset() {
        closes(TcpListener::bind("127.0.0.1:0").unwrap());
        match TcpListener::bind("[::1]:0") {
            Ok(listener) => closes(listener),
            Err(error) => eprintln!("not tried with IPv6, which is missing here: {error}"),
        }
    }

    fn closes(listener: TcpListener) {
        let address = listener.local_addr().unwrap();
        let mut queued = TcpStream::connect(address).unwrap();
        hold_off(&listener).unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().unwrap();
        io::Write::write_all(&mut queued, b"x").unwrap();
        let mut byte = [0];
        io::Read::read_exact(&mut accepted, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
        drop(listener);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
