//! Messages as programs send them, to measure sizes: all different, and the same in every run.

use std::fmt::Write;

/// The names of the corpora.
pub(super) const NAMES: [&str; 5] = ["market feed", "chat", "JSON-RPC", "GraphQL", "logs"];

const WORDS: &[&str] = &[
    "the",
    "a",
    "to",
    "and",
    "of",
    "it",
    "is",
    "in",
    "that",
    "for",
    "you",
    "on",
    "with",
    "this",
    "I",
    "be",
    "not",
    "we",
    "can",
    "have",
    "at",
    "just",
    "but",
    "if",
    "will",
    "what",
    "so",
    "they",
    "from",
    "do",
    "there",
    "think",
    "deploy",
    "meeting",
    "tomorrow",
    "after",
    "lunch",
    "because",
    "server",
    "again",
    "looks",
    "good",
    "thanks",
    "please",
    "review",
    "branch",
    "yesterday",
    "someone",
    "noticed",
    "latency",
    "customer",
    "question",
    "about",
    "invoice",
    "weekend",
    "really",
    "should",
    "could",
    "works",
    "broken",
    "build",
    "pushed",
    "fixed",
    "maybe",
    "weather",
    "train",
    "late",
    "coffee",
    "anyone",
    "remember",
    "password",
    "printer",
    "kitchen",
    "schedule",
    "Berlin",
    "Lisbon",
    "release",
    "candidate",
    "numbers",
    "quarter",
    "budget",
    "draft",
    "slides",
    "screenshot",
];

const FIRST: &[&str] = &[
    "Ada",
    "Bogdan",
    "Chiara",
    "Dmitri",
    "Esther",
    "Farid",
    "Grace",
    "Hiroshi",
    "Ingrid",
    "Jo\u{e3}o",
    "Kwame",
    "Leila",
    "Magnus",
    "Nadia",
    "Oluwaseun",
    "Priya",
    "Quentin",
    "Rosa",
    "S\u{f8}ren",
    "Tomasz",
    "Uma",
    "Viktor",
    "Wei",
    "Ximena",
    "Yusuf",
    "Zo\u{eb}",
];

const LAST: &[&str] = &[
    "Abbott",
    "Bianchi",
    "Cohen",
    "Dubois",
    "Eriksen",
    "Fern\u{e1}ndez",
    "Gupta",
    "Hoffmann",
    "Ito",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Mensah",
    "Nguyen",
    "Okafor",
    "Petrov",
    "Quinn",
    "Rossi",
    "Schmidt",
    "Tanaka",
    "Urbina",
    "Varga",
    "Walsh",
    "Xu",
    "Yilmaz",
    "Zhang",
];

const SYMBOLS: &[&str] =
    &["AAPL", "MSFT", "NVDA", "BTC-USD", "ETH-USD", "SOL-EUR", "ESZ6", "CLF7", "VOW3", "SIE"];

const HOSTS: &[&str] =
    &["api-7f9c", "api-b21d", "worker-03", "worker-11", "edge-fra1", "edge-iad2", "db-primary"];

const PATHS: &[&str] =
    &["/v1/orders", "/v1/orders/items", "/healthz", "/v2/users/me", "/assets/app.js", "/login", "/search"];

/// A generator of one corpus.
pub(super) struct Corpus {
    name: &'static str,
    random: u64,
    millis: u64,
}

impl Corpus {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, random: 0x9E37_79B9_7F4A_7C15, millis: 1_760_000_000_000 }
    }

    /// Returns the next message, of about `len` bytes and at most `len`.
    pub(super) fn message(&mut self, len: usize) -> String {
        self.millis += self.below(900);
        match self.name {
            "market feed" => self.feed(len),
            "chat" => self.chat(len),
            "JSON-RPC" => self.rpc(len),
            "GraphQL" => self.graphql(len),
            _ => self.logs(len),
        }
    }

    /// One trade or quote, or an order book of many levels.
    fn feed(&mut self, len: usize) -> String {
        let (symbol, time) = (self.pick(SYMBOLS), self.millis);
        let cents = 1_000 + self.below(900_000);
        if len < 250 {
            let (quantity, side) = (self.below(5_000), self.pick(&["buy", "sell"]));
            let price = decimal(cents);
            return cut(
                format!(
                    r#"{{"type":"trade","symbol":"{symbol}","price":{price},"size":{quantity},"side":"{side}","ts":{time}}}"#
                ),
                len,
            );
        }
        let sequence = self.below(1 << 32);
        let head = format!(r#"{{"type":"book","symbol":"{symbol}","seq":{sequence},"ts":{time},"levels":["#);
        self.list(head, "]}", len, |corpus| {
            let price = decimal(cents + corpus.below(400));
            let (quantity, side) = (corpus.below(90_000), corpus.pick(&["bid", "ask"]));
            format!(r#"{{"side":"{side}","price":{price},"size":{quantity}.{:02}}}"#, corpus.below(100))
        })
    }

    /// One line of chat, or the history of a room.
    fn chat(&mut self, len: usize) -> String {
        if len < 500 {
            let (name, room) = (self.pick(FIRST), self.below(40));
            let head = format!(r#"{{"event":"message","room":{room},"from":"{name}","text":""#);
            let text = self.text(len.saturating_sub(head.len() + 2));
            return format!("{head}{text}\"}}");
        }
        let head = format!(r#"{{"event":"history","room":"{}","messages":["#, self.hex(8));
        self.list(head, "]}", len, |corpus| {
            corpus.millis += corpus.below(60_000);
            let (id, name, last, time) =
                (corpus.hex(12), corpus.pick(FIRST), corpus.pick(LAST), corpus.millis);
            let words = 20 + corpus.below(120) as usize;
            let text = corpus.text(words);
            format!(r#"{{"id":"{id}","from":"{name} {last}","at":{time},"text":"{text}"}}"#)
        })
    }

    /// A request or an answer of an Ethereum node or a language server.
    fn rpc(&mut self, len: usize) -> String {
        let id = self.below(100_000);
        if len < 250 {
            let method = self.pick(&["eth_getBalance", "eth_call", "eth_getCode", "eth_getTransactionCount"]);
            return cut(
                format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":["0x{}","latest"]}}"#,
                    self.hex(if len < 120 { 12 } else { 40 })
                ),
                len,
            );
        }
        let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":["#);
        if self.below(2) == 0 {
            return self.list(head, "]}", len, |corpus| {
                let (line, from) = (corpus.below(2_000), corpus.below(60));
                let (to, word, kind) = (from + 1 + corpus.below(30), corpus.pick(WORDS), corpus.below(25));
                format!(
                    r#"{{"name":"{word}_{}","kind":{kind},"range":{{"start":{{"line":{line},"character":{from}}},"end":{{"line":{line},"character":{to}}}}}}}"#,
                    corpus.pick(WORDS)
                )
            });
        }
        self.list(head, "]}", len, |corpus| {
            let (address, block, topic, index) = (corpus.hex(40), corpus.hex(7), corpus.hex(64), corpus.below(300));
            format!(r#"{{"address":"0x{address}","blockNumber":"0x{block}","topics":["0x{topic}"],"logIndex":"0x{index:x}","removed":false}}"#)
        })
    }

    /// The data of a subscription, or the answer to a query.
    fn graphql(&mut self, len: usize) -> String {
        let id = self.below(5_000);
        if len < 250 {
            let (likes, post) = (self.below(9_000), self.hex(6));
            return format!(
                r#"{{"id":"{id}","type":"next","payload":{{"data":{{"post":{{"id":"{post}","likes":{likes}}}}}}}}}"#
            );
        }
        if len < 500 {
            let (comment, at, author) = (self.hex(12), self.millis, self.pick(FIRST));
            let head = format!(
                r#"{{"id":"{id}","type":"next","payload":{{"data":{{"commentAdded":{{"__typename":"Comment","id":"{comment}","createdAt":{at},"author":{{"__typename":"User","name":"{author}"}},"body":""#
            );
            let text = self.text(len - head.len() - 6);
            return format!("{head}{text}\"}}}}}}}}");
        }
        let head = format!(
            r#"{{"id":"{id}","type":"next","payload":{{"data":{{"viewer":{{"id":"{}","orders":{{"edges":["#,
            self.hex(10)
        );
        self.list(head, "]}}}}}", len, |corpus| {
            let (cursor, order, total) = (corpus.hex(16), corpus.below(1 << 24), decimal(corpus.below(200_000)));
            let (name, last) = (corpus.pick(FIRST), corpus.pick(LAST));
            let status = corpus.pick(&["PENDING", "PAID", "SHIPPED", "DELIVERED", "RETURNED"]);
            let note = if corpus.below(3) > 0 { "null".to_owned() } else { format!("\"{}\"", corpus.text(40)) };
            format!(
                r#"{{"cursor":"{cursor}","node":{{"__typename":"Order","id":"{order}","status":"{status}","total":{{"amount":"{total}","currency":"EUR"}},"customer":{{"__typename":"Customer","name":"{name} {last}"}},"note":{note}}}}}"#
            )
        })
    }

    /// Lines of a log, as JSON or as text.
    fn logs(&mut self, len: usize) -> String {
        let as_json = self.below(2) == 0;
        let mut out = String::new();
        loop {
            self.millis += self.below(500);
            let line = if as_json { self.json_line() } else { self.access_line() };
            if !out.is_empty() && out.len() + line.len() > len {
                return out;
            }
            out += &line;
            if out.len() >= len {
                return cut(out, len);
            }
            out.push('\n');
        }
    }

    fn json_line(&mut self) -> String {
        let level = self.pick(&["DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"]);
        let (host, time, span, took) = (self.pick(HOSTS), self.time(), self.hex(16), self.below(90_000));
        let message = self.text(36);
        format!(
            r#"{{"ts":"{time}","level":"{level}","host":"{host}","span":"{span}","msg":"{message}","us":{took}}}"#
        )
    }

    fn access_line(&mut self) -> String {
        let ip = format!("{}.{}.{}.{}", self.below(256), self.below(256), self.below(256), self.below(256));
        let (method, path, time) =
            (self.pick(&["GET", "GET", "GET", "POST", "PUT"]), self.pick(PATHS), self.time());
        let (status, bytes) =
            (self.pick(&["200", "200", "200", "204", "304", "404", "500"]), self.below(60_000));
        format!(
            "{ip} - - [{time}] \"{method} {path}?id={} HTTP/1.1\" {status} {bytes} {}ms",
            self.below(99_999),
            self.below(900)
        )
    }

    /// Appends items and an end to `out`, as many as fit.
    fn list(
        &mut self,
        mut out: String,
        end: &str,
        len: usize,
        mut item: impl FnMut(&mut Self) -> String,
    ) -> String {
        loop {
            let next = item(self);
            if out.len() + next.len() + 1 + end.len() > len {
                return out + end;
            }
            if !out.ends_with('[') {
                out.push(',');
            }
            out += &next;
        }
    }

    /// Returns words, of at most this length together.
    fn text(&mut self, len: usize) -> String {
        let mut out = String::new();
        loop {
            let word = self.pick(WORDS);
            if out.len() + word.len() + 1 > len {
                return out;
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out += word;
        }
    }

    fn time(&self) -> String {
        let second = self.millis / 1_000;
        let (hour, minute) = (second / 3_600 % 24, second / 60 % 60);
        format!("2025-10-09T{hour:02}:{minute:02}:{:02}.{:03}Z", second % 60, self.millis % 1_000)
    }

    fn hex(&mut self, len: usize) -> String {
        let mut out = String::new();
        while out.len() < len {
            let _ = write!(out, "{:x}", self.below(16));
        }
        out
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Returns a number from 0 up to, but not including, `end`.
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 31) % end
    }
}

fn decimal(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Shortens a message to at most `len` bytes.
fn cut(mut message: String, len: usize) -> String {
    message.truncate(message.floor_char_boundary(len));
    message
}
