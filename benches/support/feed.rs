//! Messages of a market feed, as JSON: all different from each other, and the same in every run.

use std::fmt::Write;

/// Symbols and their initial prices, in hundredths.
const SYMBOLS: [(&str, u64); 8] = [
    ("BTCUSDT", 6_431_251),
    ("ETHUSDT", 312_004),
    ("SOLUSDT", 15_122),
    ("XRPUSDT", 231),
    ("DOGEUSDT", 127),
    ("LINKUSDT", 1_433),
    ("AVAXUSDT", 2_870),
    ("LTCUSDT", 8_415),
];

/// The maximum length of a message with a single event; longer ones have many.
const ONE_EVENT: usize = 200;

/// The maximum lengths of a trade and of a price level in a message with many events.
const LONGEST_TRADE: usize = 80;
const LONGEST_LEVEL: usize = 26;

/// The end of every message, without the digits of the identifier, which fill it to its length.
const END: &str = "\"i\":\"\"}";

/// The state of a feed: prices rise and fall, time advances.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    random: u64,
    milliseconds: u64,
    prices: [u64; SYMBOLS.len()],
}

impl Feed {
    /// Creates a feed at its beginning.
    pub(crate) fn new() -> Self {
        let prices = SYMBOLS.map(|(_, price)| price);
        Self { random: 0x9E37_79B9_7F4A_7C15, milliseconds: 1_718_600_000_000, prices }
    }

    /// Returns the next message, of exactly `len` bytes, which must be at least 100.
    pub(crate) fn message(&mut self, len: usize) -> String {
        let mut out = String::with_capacity(len);
        self.milliseconds += 1 + self.below(40);
        if len <= ONE_EVENT {
            self.put_event(&mut out);
        } else {
            self.put_batch(&mut out, len);
        }
        // The identifier is between the last two characters.
        out.push_str(&END[..END.len() - 2]);
        while out.len() < len - 2 {
            let digit = self.below(16) as u32;
            out.push(char::from_digit(digit, 16).expect("below 16"));
        }
        out.push_str("\"}");
        assert_eq!(out.len(), len, "too short for a message");
        out
    }

    /// Appends a trade or a quote, up to the identifier.
    fn put_event(&mut self, out: &mut String) {
        let symbol = self.symbol();
        let (name, time) = (SYMBOLS[symbol].0, self.milliseconds);
        let (price, quantity) = (self.price(symbol), self.quantity());
        let _ = if self.below(3) > 0 {
            let maker = self.below(2) == 0;
            write!(out, r#"{{"e":"trade","T":{time},"s":"{name}","p":{price},"q":{quantity},"m":{maker},"#)
        } else {
            let ask = self.price(symbol);
            write!(out, r#"{{"e":"quote","T":{time},"s":"{name}","b":{price},"a":{ask},"v":{quantity},"#)
        };
    }

    /// Appends the changes of an order book, half of the time with trades before them, up to the
    /// identifier.
    fn put_batch(&mut self, out: &mut String, len: usize) {
        let symbol = self.symbol();
        let (name, time, update) = (SYMBOLS[symbol].0, self.milliseconds, self.below(1 << 30));
        let _ = write!(out, r#"{{"ch":"book.{name}","T":{time},"u":{update}"#);
        if self.below(2) == 0 {
            out.push_str(r#","t":["#);
            while out.len() + LONGEST_TRADE + 2 * END.len() + 64 < len {
                let (price, quantity, maker) = (self.price(symbol), self.quantity(), self.below(2) == 0);
                let time = self.milliseconds + self.below(40);
                let _ = write!(out, r#"{{"T":{time},"p":{price},"q":{quantity},"m":{maker}}},"#);
            }
            close(out);
        }
        for side in ["b", "a"] {
            let end = if side == "b" { out.len() + (len - out.len()) / 2 } else { len };
            let _ = write!(out, ",\"{side}\":[");
            while out.len() + LONGEST_LEVEL + END.len() + 8 < end {
                let (price, quantity) = (self.price(symbol), self.quantity());
                let _ = write!(out, "[{price},{quantity}],");
            }
            close(out);
        }
        out.push(',');
    }

    fn symbol(&mut self) -> usize {
        self.below(SYMBOLS.len() as u64) as usize
    }

    /// Changes the price of a symbol, and returns it in quotes.
    fn price(&mut self, symbol: usize) -> String {
        let change = self.below(41);
        let price = &mut self.prices[symbol];
        *price = (*price + change).saturating_sub(20).max(100);
        format!("\"{}.{:02}\"", *price / 100, *price % 100)
    }

    /// Returns a quantity in quotes; small ones are more frequent.
    fn quantity(&mut self) -> String {
        let most = 10_u64.pow(2 + self.below(4) as u32);
        let quantity = 1 + self.below(most);
        format!("\"{}.{:04}\"", quantity / 10_000, quantity % 10_000)
    }

    /// Returns a number from 0 up to, but not including, `end`.
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

/// Ends an array, and removes the comma after its last element.
fn close(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push(']');
}
