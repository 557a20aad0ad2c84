//! What host and guest say to each other over the guest's virtio-serial port: frames of a kind, a length and bytes.

use std::io::{self, Read, Write};

/// The longest frame; a longer one is no frame.
const LIMIT: u32 = 1 << 20;

/// The one thing that the host says: all guests are ready, run the command.
pub const GO: u8 = b'G';

/// Where a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

/// What a guest says.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The device is there.
    Ready,
    /// The command wrote this.
    Output(Stream, Vec<u8>),
    /// The command ended, and all that it left running.
    Exit(u8),
    /// The guest is not as it should be.
    Failed(String),
}

impl Message {
    /// Writes it as one frame, in one call.
    ///
    /// # Errors
    /// Those of the port.
    pub fn write(&self, port: &mut impl Write) -> io::Result<()> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Message::Ready => (0, &[]),
            Message::Output(Stream::Out, bytes) => (1, bytes),
            Message::Output(Stream::Err, bytes) => (2, bytes),
            Message::Exit(code) => (3, std::slice::from_ref(code)),
            Message::Failed(reason) => (4, reason.as_bytes()),
        };
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LIMIT);
        let length = length.ok_or_else(|| invalid("a frame is too long"))?;
        let mut frame = vec![kind];
        frame.extend(length.to_le_bytes());
        frame.extend(bytes);
        port.write_all(&frame)
    }

    /// Reads a frame; none when the other side has hung up.
    ///
    /// # Errors
    /// Those of the port, and bytes that are no frame.
    pub fn read(port: &mut impl Read) -> io::Result<Option<Message>> {
        let mut kind = [0];
        if port.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        port.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > LIMIT {
            return Err(invalid("a length that no frame has"));
        }
        let mut bytes = vec![0; length as usize];
        port.read_exact(&mut bytes)?;
        Ok(Some(match (kind[0], bytes.as_slice()) {
            (0, []) => Message::Ready,
            (1, _) => Message::Output(Stream::Out, bytes),
            (2, _) => Message::Output(Stream::Err, bytes),
            (3, [code]) => Message::Exit(*code),
            (4, _) => Message::Failed(String::from_utf8_lossy(&bytes).into_owned()),
            _ => return Err(invalid("a kind that no frame has")),
        }))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let messages = [
            Message::Ready,
            Message::Output(Stream::Out, b"a\xff".to_vec()),
            Message::Output(Stream::Err, Vec::new()),
            Message::Exit(255),
            Message::Failed("no".into()),
        ];
        let mut bytes = Vec::new();
        for message in &messages {
            message.write(&mut bytes).expect("a vector takes all");
        }
        let mut bytes = bytes.as_slice();
        for message in messages {
            assert_eq!(Message::read(&mut bytes).expect("a frame"), Some(message));
        }
        assert_eq!(Message::read(&mut bytes).expect("the end"), None);
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in
            [&[9, 0, 0, 0, 0][..], &[1, 0xff, 0xff, 0xff, 0xff], &[3, 0, 0, 0, 0], &[1, 2, 0, 0, 0, 7]]
        {
            assert!(Message::read(&mut &garbage[..]).is_err(), "{garbage:?}");
        }
    }
}
