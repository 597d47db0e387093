//! Compressed messages (RFC 7692), by miniz_oxide.

use miniz_oxide::{
    DataFormat, MZFlush,
    deflate::{
        core::{CompressionStrategy, CompressorOxide},
        stream::deflate,
    },
    inflate::{
        TINFLStatus,
        core::{
            DecompressorOxide, decompress,
            inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
        },
    },
};

/// What the sender removes (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Compresses messages.
pub(crate) struct Deflater {
    compressor: CompressorOxide,
    level: u8,
    window_bits: u8,
    strategy: CompressionStrategy,
}

impl Deflater {
    pub(crate) fn new(level: u8, window_bits: u8, strategy: u8) -> Self {
        let (level, window_bits) = (level % 11, 8 + window_bits % 8);
        let strategy = match strategy % 5 {
            0 => CompressionStrategy::Default,
            1 => CompressionStrategy::Filtered,
            2 => CompressionStrategy::HuffmanOnly,
            3 => CompressionStrategy::RLE,
            _ => CompressionStrategy::Fixed,
        };
        let compressor = CompressorOxide::with_params(DataFormat::Raw, level, strategy, window_bits);
        Self { compressor, level, window_bits, strategy }
    }

    /// Forgets the messages so far.
    pub(crate) fn forget(&mut self) {
        self.compressor =
            CompressorOxide::with_params(DataFormat::Raw, self.level, self.strategy, self.window_bits);
    }

    /// Compresses a message in two pieces. The first of `flushes` says where the first piece ends, and
    /// the second how both do.
    pub(crate) fn message(&mut self, message: &[u8], flushes: [u8; 2]) -> Vec<u8> {
        let at = message.len() * usize::from(flushes[0]) / 255;
        let between = match flushes[1] % 4 {
            0 => MZFlush::None,
            1 => MZFlush::Sync,
            2 => MZFlush::Full,
            _ => MZFlush::Partial,
        };
        let mut payload = self.deflate(&message[..at], between);
        if flushes[1] & 4 == 0 {
            payload.extend(self.deflate(&message[at..], MZFlush::Sync));
            // RFC 7692 section 7.2.3.6: without new data, there is an empty block of its own.
            if payload.is_empty() {
                return vec![0];
            }
            payload.truncate(payload.strip_suffix(&TAIL).expect("an empty block").len());
            return payload;
        }
        // Section 7.2.3.4: a final block, followed by the rest of an empty one.
        payload.extend(self.deflate(&message[at..], MZFlush::Finish));
        payload.push(0);
        self.forget();
        payload
    }

    fn deflate(&mut self, mut input: &[u8], flush: MZFlush) -> Vec<u8> {
        let mut output = Vec::new();
        loop {
            let start = output.len();
            output.resize(start + input.len() + 1024, 0);
            let result = deflate(&mut self.compressor, input, &mut output[start..], flush);
            let is_full = start + result.bytes_written == output.len();
            output.truncate(start + result.bytes_written);
            input = &input[result.bytes_consumed..];
            if !is_full {
                assert!(input.is_empty(), "{result:?}");
                return output;
            }
        }
    }
}

/// The data is invalid, or longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Decompresses messages.
pub(crate) struct Inflater {
    state: DecompressorOxide,
    /// All output since the last final block. What is further back than the window is overwritten.
    output: Vec<u8>,
    window: usize,
    /// How much is decompressed at once. A reference may go that much further back than the window.
    step: usize,
}

/// Whether data has come to its end.
#[derive(Debug, PartialEq, Eq)]
enum Status {
    NeedsMore,
    /// After a final block, and this many bytes.
    Done(usize),
}

impl Inflater {
    pub(crate) fn new(window: usize, step: usize) -> Self {
        Self { state: DecompressorOxide::new(), output: Vec::new(), window, step }
    }

    /// Forgets the messages so far.
    pub(crate) fn forget(&mut self) {
        self.state = DecompressorOxide::new();
        self.output.clear();
    }

    /// Decompresses a message of at most `limit` bytes.
    pub(crate) fn message(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, Invalid> {
        let (mut message, mut rest) = (Vec::new(), payload);
        while let Status::Done(consumed) = self.inflate(rest, limit, &mut message)? {
            // RFC 7692 section 7.2.3.4: a block may be final. What follows refers to nothing before it.
            self.forget();
            rest = &rest[consumed..];
            if rest.is_empty() {
                return Ok(message);
            }
        }
        self.finish(&mut message)?;
        Ok(message)
    }

    /// Takes what the sender has removed, which ends an empty block.
    fn finish(&mut self, message: &mut Vec<u8>) -> Result<(), Invalid> {
        let len = message.len();
        let status = self.inflate(&TAIL, len, message)?;
        if status == Status::Done(TAIL.len()) {
            self.forget();
            return Ok(());
        }
        // Another block could begin here.
        let state = self.state.clone();
        let next = self.inflate(&[0x01, 0x00, 0x00, 0xFF, 0xFF], len, message)?;
        self.state = state;
        if (status, next) == (Status::NeedsMore, Status::Done(5)) { Ok(()) } else { Err(Invalid) }
    }

    fn inflate(&mut self, input: &[u8], limit: usize, message: &mut Vec<u8>) -> Result<Status, Invalid> {
        const FLAGS: u32 = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let mut at = 0;
        loop {
            let start = self.output.len();
            self.output.resize(start + self.step, 0);
            let (status, consumed, produced) =
                decompress(&mut self.state, &input[at..], &mut self.output, start, FLAGS);
            let end = start + produced;
            self.output.truncate(end);
            message.extend_from_slice(&self.output[start..]);
            self.output[start.saturating_sub(self.window)..end.saturating_sub(self.window)].fill(0xA5);
            at += consumed;
            match status {
                _ if message.len() > limit => return Err(Invalid),
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => {
                    assert_eq!(at, input.len());
                    return Ok(Status::NeedsMore);
                }
                TINFLStatus::Done => return Ok(Status::Done(at)),
                _ => return Err(Invalid),
            }
        }
    }
}
