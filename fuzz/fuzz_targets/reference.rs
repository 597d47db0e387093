//! What bytes on a connection mean, by RFC 6455 alone: a slow reading, frame by frame, that knows
//! all faults of a frame. It also knows in what other decoders differ from the RFC.

/// A message or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The bytes of a text, because a decoder could return what is not UTF-8.
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, Vec<u8>)>),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a Close of the peer.
    Closed,
    /// The peer is at fault; the connection is failed with this code.
    Failed(u16),
    /// The transport ends without a Close.
    Eof,
}

/// What a decoder has received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) events: Vec<Event>,
    pub(crate) end: End,
}

/// In what a decoder differs from the RFC. The rows of the table in `fuzz/README.md` have these
/// names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Differences {
    /// Accepts lengths that are not in their shortest form.
    pub(crate) long_lengths: bool,
    /// Replaces a Close whose code it does not know by one with the code 1002.
    pub(crate) replaced_codes: bool,
    /// Accepts a text that ends inside a character, if its last frame is empty.
    pub(crate) unfinished_text: bool,
    /// Finds faults in a header once its second byte, the whole header or the whole frame has been
    /// received.
    pub(crate) late: bool,
}

/// What a decoder is expected to receive.
#[derive(Debug)]
pub(crate) struct Expected {
    events: Vec<Event>,
    end: ExpectedEnd,
}

#[derive(Debug)]
enum ExpectedEnd {
    Closed,
    /// The frame has faults with these codes; the decoder fails at one of them, or may see the end
    /// of the transport first.
    Failed {
        codes: Vec<u16>,
        eof: bool,
    },
    Eof,
}

impl Expected {
    /// Asserts that a decoder received this.
    pub(crate) fn check(&self, name: &str, received: &Received) {
        assert_eq!(self.events, received.events, "{name} ended with {:?}, {:?}", received.end, self.end);
        let as_expected = match (&self.end, received.end) {
            (ExpectedEnd::Closed, End::Closed) | (ExpectedEnd::Eof, End::Eof) => true,
            (ExpectedEnd::Failed { codes, .. }, End::Failed(code)) => codes.contains(&code),
            (ExpectedEnd::Failed { eof, .. }, End::Eof) => *eof,
            _ => false,
        };
        assert!(as_expected, "{name}: {:?} instead of {:?}", received.end, self.end);
    }
}

/// Reads what a server or a client receives, with this limit on frames and messages.
pub(crate) fn read(server: bool, limit: usize, mut wire: &[u8], differences: Differences) -> Expected {
    let mut reading = Reading { server, limit, differences, open: None, text: Utf8::default() };
    let mut events = Vec::new();
    while !wire.is_empty() {
        let frame = Frame::of(wire);
        let faults = reading.faults(&frame);
        if !faults.codes.is_empty() {
            let eof = !frame.is_whole() && (differences.late || !faults.is_early);
            return Expected { events, end: ExpectedEnd::Failed { codes: faults.codes, eof } };
        }
        if !frame.is_whole() {
            break;
        }
        wire = &wire[frame.len..];
        if let Some(event) = reading.take(frame) {
            let closes = matches!(event, Event::Close(_));
            events.push(event);
            if closes {
                return Expected { events, end: ExpectedEnd::Closed };
            }
        }
    }
    Expected { events, end: ExpectedEnd::Eof }
}

/// A frame, as much of it as is in the input.
struct Frame {
    first: u8,
    second: Option<u8>,
    payload_len: Option<u64>,
    has_header: bool,
    /// Unmasked.
    payload: Vec<u8>,
    /// The number of bytes of the frame that are in the input.
    len: usize,
}

impl Frame {
    fn of(wire: &[u8]) -> Self {
        let second = wire.get(1).copied();
        let code = second.unwrap_or_default() & 0x7F;
        let bytes = match code {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let payload_len = match bytes {
            0 => second.map(|_| code.into()),
            _ => wire.get(2..2 + bytes).map(number),
        };
        let masked = second.is_some_and(|second| second & 0x80 != 0);
        let start = 2 + bytes + if masked { 4 } else { 0 };
        let has_header = payload_len.is_some() && wire.len() >= start;
        let mut frame =
            Self { first: wire[0], second, payload_len, has_header, payload: Vec::new(), len: wire.len() };
        if has_header {
            let rest = &wire[start..];
            let missing = payload_len.unwrap_or_default();
            let here = usize::try_from(missing).map_or(rest.len(), |len| len.min(rest.len()));
            let key: &[u8] = if masked { &wire[start - 4..start] } else { &[0] };
            let unmask = |(byte, key): (&u8, &u8)| byte ^ key;
            frame.payload = rest[..here].iter().zip(key.iter().cycle()).map(unmask).collect();
            frame.len = start + here;
        }
        frame
    }

    fn is_whole(&self) -> bool {
        self.has_header && self.payload_len == Some(self.payload.len() as u64)
    }

    fn is_final(&self) -> bool {
        self.first & 0x80 != 0
    }

    fn opcode(&self) -> u8 {
        self.first & 0x0F
    }

    fn is_control(&self) -> bool {
        self.opcode() & 8 != 0
    }
}

/// The faults of a frame.
#[derive(Default)]
struct Faults {
    /// The close code for each of them.
    codes: Vec<u16>,
    /// Whether one of them is certain from the header, if it is whole, or from the text received.
    is_early: bool,
}

impl Faults {
    fn add(&mut self, code: u16, found: bool) {
        if found {
            self.codes.push(code);
        }
    }
}

/// What is known between two frames.
struct Reading {
    server: bool,
    limit: usize,
    differences: Differences,
    /// Whether the open message is a text, and its payload data.
    open: Option<(bool, Vec<u8>)>,
    text: Utf8,
}

const PROTOCOL: u16 = 1002;
const NOT_UTF8: u16 = 1007;
const TOO_BIG: u16 = 1009;

impl Reading {
    fn faults(&self, frame: &Frame) -> Faults {
        let mut faults = Faults::default();
        let (opcode, control) = (frame.opcode(), frame.is_control());
        // RFC 6455 section 5.2: reserved bits and opcodes.
        faults.add(PROTOCOL, frame.first & 0x70 != 0);
        faults.add(PROTOCOL, !matches!(opcode, 0..=2 | 8..=10));
        // Section 5.5: control frames are not fragmented.
        faults.add(PROTOCOL, control && !frame.is_final());
        // Section 5.4: the order of fragments.
        faults.add(PROTOCOL, opcode == 0 && self.open.is_none());
        faults.add(PROTOCOL, matches!(opcode, 1 | 2) && self.open.is_some());
        if let Some(second) = frame.second {
            // Section 5.1: a client masks, a server does not.
            faults.add(PROTOCOL, (second & 0x80 != 0) != self.server);
            // Section 5.5: control frames have at most 125 bytes.
            let is_long = match (self.differences.long_lengths, frame.payload_len) {
                (true, len) => len.is_some_and(|len| len > 125),
                (false, _) => second & 0x7F > 125,
            };
            faults.add(PROTOCOL, control && is_long);
            if let Some(len) = frame.payload_len {
                self.length_faults(second & 0x7F, len, control, &mut faults);
            }
        }
        faults.is_early = frame.has_header && !faults.codes.is_empty();
        if !faults.codes.contains(&PROTOCOL) {
            self.payload_faults(frame, &mut faults);
        }
        faults
    }

    fn length_faults(&self, code: u8, len: u64, control: bool, faults: &mut Faults) {
        // Section 5.2: the minimal number of bytes, and the most significant bit is 0.
        let minimal = match code {
            126 => len > 125,
            127 => len > 0xFFFF,
            _ => true,
        };
        faults.add(PROTOCOL, !minimal && !self.differences.long_lengths);
        faults.add(PROTOCOL, len >> 63 != 0);
        // Section 10.4: limits.
        let before = self.open.as_ref().map_or(0, |(_, payload)| payload.len() as u64);
        let so_far = if control { 0 } else { before };
        faults.add(TOO_BIG, len.saturating_add(so_far) > self.limit as u64);
    }

    fn payload_faults(&self, frame: &Frame, faults: &mut Faults) {
        if self.is_text(frame) {
            // Section 8.1: text is UTF-8.
            let mut text = self.text.clone();
            let valid = text.push(&frame.payload);
            let unchecked = self.differences.unfinished_text && frame.payload.is_empty();
            let ends = frame.is_whole() && frame.is_final() && !unchecked;
            faults.add(NOT_UTF8, !valid || ends && !text.is_complete());
            faults.is_early |= !valid;
        }
        if frame.opcode() == 8 && frame.payload_len == Some(1) {
            // Section 5.5.1: a body begins with a code of two bytes.
            faults.add(PROTOCOL, true);
        }
        if let (8, true, [high, low, reason @ ..]) = (frame.opcode(), frame.is_whole(), &frame.payload[..]) {
            // Section 7.4: codes that are never sent, and undefined ones.
            let code = u16::from_be_bytes([*high, *low]);
            faults.add(PROTOCOL, !self.differences.replaced_codes && !may_be_sent(code));
            // Section 5.5.1: the reason is UTF-8.
            faults.add(NOT_UTF8, str::from_utf8(reason).is_err());
        }
    }

    fn is_text(&self, frame: &Frame) -> bool {
        match (frame.opcode(), &self.open) {
            (0, Some((text, _))) => *text,
            (opcode, _) => opcode == 1,
        }
    }

    /// Takes a whole frame without faults; returns what it completes.
    fn take(&mut self, frame: Frame) -> Option<Event> {
        match frame.opcode() {
            8 => return Some(Event::Close(self.close(&frame.payload))),
            9 => return Some(Event::Ping(frame.payload)),
            10 => return Some(Event::Pong(frame.payload)),
            _ => {}
        }
        let is_final = frame.is_final();
        if self.is_text(&frame) {
            self.text.push(&frame.payload);
        }
        let (_, payload) = self.open.get_or_insert((frame.opcode() == 1, Vec::new()));
        payload.extend(frame.payload);
        let (text, payload) = self.open.take_if(|_| is_final)?;
        Some(if text { Event::Text(payload) } else { Event::Binary(payload) })
    }

    fn close(&self, payload: &[u8]) -> Option<(u16, Vec<u8>)> {
        let (code, reason) = payload.split_first_chunk()?;
        let code = u16::from_be_bytes(*code);
        if self.differences.replaced_codes && !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999) {
            return Some((PROTOCOL, b"Protocol violation".to_vec()));
        }
        Some((code, reason.to_vec()))
    }
}

/// RFC 6455 section 7.4, and the registry of section 11.7, which has 1012 to 1014 as well.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Text so far: the bytes of a character that is incomplete.
#[derive(Clone, Default)]
struct Utf8(Vec<u8>);

impl Utf8 {
    /// Returns whether the text can still be UTF-8.
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.0.extend_from_slice(bytes);
        match str::from_utf8(&self.0) {
            Ok(_) => self.0.clear(),
            Err(error) if error.error_len().is_some() => return false,
            Err(error) => drop(self.0.drain(..error.valid_up_to())),
        }
        true
    }

    fn is_complete(&self) -> bool {
        self.0.is_empty()
    }
}
