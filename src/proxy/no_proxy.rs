//! The targets that `no_proxy` excludes.

use std::net::IpAddr;

/// Returns whether a list in the form of `no_proxy` contains a target.
pub(super) fn excludes(list: &str, host: &str, port: u16) -> bool {
    let host = Host::parse(host);
    let entries = list.split(|separator: char| separator == ',' || separator.is_whitespace());
    entries.filter_map(Entry::parse).any(|entry| entry.contains(&host, port))
}

/// The host of a target.
#[derive(Debug)]
enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl<'a> Host<'a> {
    fn parse(host: &'a str) -> Self {
        match host.parse::<IpAddr>() {
            // An IPv4 address can also be written as a part of an IPv6 address.
            Ok(address) => Self::Address(address.to_canonical()),
            // The dot at the end of a complete name makes no difference.
            Err(_) => Self::Name(host.strip_suffix('.').unwrap_or(host)),
        }
    }
}

/// An element of the list.
#[derive(Debug, PartialEq)]
struct Entry<'a> {
    hosts: Hosts<'a>,
    /// `None` for all ports.
    port: Option<u16>,
}

/// The hosts that an entry excludes.
#[derive(Debug, PartialEq)]
enum Hosts<'a> {
    All,
    /// The name and all names below it.
    Domain(&'a str),
    /// All addresses that have the first bits in common with this one.
    Block(IpAddr, u32),
}

impl<'a> Entry<'a> {
    /// Parses an entry; `None` if it has another form.
    fn parse(text: &'a str) -> Option<Self> {
        let (host, suffix) = match text.strip_prefix('[') {
            Some(text) => text.split_once(']')?,
            // A port after an IPv6 address requires brackets.
            None if text.matches(':').count() > 1 => split_before(text, &['/']),
            None => split_before(text, &[':', '/']),
        };
        let (length, port) = match suffix.as_bytes().first() {
            None => (None, None),
            Some(b':') => (None, Some(suffix[1..].parse().ok()?)),
            Some(b'/') => (Some(suffix[1..].parse().ok()?), None),
            Some(_) => return None,
        };
        Some(Self { hosts: Hosts::parse(host, length)?, port })
    }

    fn contains(&self, host: &Host<'_>, port: u16) -> bool {
        self.port.is_none_or(|only| only == port) && self.hosts.contains(host)
    }
}

/// Splits a text before the first of these characters.
fn split_before<'a>(text: &'a str, characters: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(characters).unwrap_or(text.len()))
}

impl<'a> Hosts<'a> {
    fn parse(host: &'a str, length: Option<u32>) -> Option<Self> {
        if let Ok(address) = host.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return match length {
                None => Some(Self::Block(address, bits)),
                Some(length) if length <= bits => Some(Self::Block(address, length)),
                Some(_) => None,
            };
        }
        if length.is_some() {
            return None;
        }
        if host == "*" {
            return Some(Self::All);
        }
        let domain = ["*.", "."].iter().find_map(|prefix| host.strip_prefix(prefix)).unwrap_or(host);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        (!domain.is_empty()).then_some(Self::Domain(domain))
    }

    fn contains(&self, host: &Host<'_>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(domain), Host::Name(name)) => is_below(name.as_bytes(), domain.as_bytes()),
            (Self::Block(block, length), Host::Address(address)) => is_in_block(*block, *length, *address),
            _ => false,
        }
    }
}

/// Returns whether a name is a domain, or is below it.
fn is_below(name: &[u8], domain: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else { return false };
    let (front, end) = name.split_at(start);
    // Only whole labels count: `badexample.com` is not below `example.com`.
    end.eq_ignore_ascii_case(domain) && front.last().is_none_or(|&byte| byte == b'.')
}

/// Returns whether an address is in a block (RFC 4632 section 3.1).
fn is_in_block(block: IpAddr, length: u32, address: IpAddr) -> bool {
    match (block, address) {
        (IpAddr::V4(block), IpAddr::V4(address)) => {
            (block.to_bits() ^ address.to_bits()).leading_zeros() >= length
        }
        (IpAddr::V6(block), IpAddr::V6(address)) => {
            (block.to_bits() ^ address.to_bits()).leading_zeros() >= length
        }
        // A block can also be written in IPv6 addresses that contain IPv4 addresses.
        (IpAddr::V6(block), IpAddr::V4(address)) => {
            (block.to_bits() ^ address.to_ipv6_mapped().to_bits()).leading_zeros() >= length
        }
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_excludes(list: &str, hosts: &[&str]) {
        for host in hosts {
            assert!(excludes(list, host, 443), "{list} {host}");
        }
    }

    #[track_caller]
    fn assert_keeps(list: &str, hosts: &[&str]) {
        for host in hosts {
            assert!(!excludes(list, host, 443), "{list} {host}");
        }
    }

    #[test]
    fn a_star_excludes_everything() {
        assert_excludes("*", &["a", "a.example.", "192.0.2.1", "2001:db8::1"]);
        assert_excludes("b , *,c", &["a"]);
        assert_keeps("", &["a", "192.0.2.1"]);
        assert_keeps(" ,, ,.,*.,*a,/", &["a", "192.0.2.1", "ba"]);
    }

    #[test]
    fn a_domain_excludes_its_name_and_all_names_below_it() {
        for list in ["example.com", ".example.com", "*.example.com", "Example.COM", "example.com."] {
            assert_excludes(list, &["example.com", "example.com.", "a.example.com", "b.a.example.com"]);
            assert_keeps(list, &["badexample.com", "example.com.evil", "com", "ample.com", "example.co"]);
        }
    }

    #[test]
    fn entries_are_separated_by_commas_and_spaces() {
        for list in ["a,b", "a, b", " a ,\tb ", "a b", "x,a,,b,"] {
            assert_excludes(list, &["a", "b"]);
            assert_keeps(list, &["c", "ab"]);
        }
    }

    #[test]
    fn a_port_limits_an_entry() {
        for (list, host) in [
            ("example.com:443", "a.example.com"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("*:443", "a"),
        ] {
            assert!(excludes(list, host, 443) && !excludes(list, host, 80), "{list}");
        }
        assert_keeps("a:,a:x,a:65536,a:443:443,[::1]443,[::1", &["a", "::1"]);
    }

    #[test]
    fn addresses_are_compared_as_numbers() {
        assert_excludes("192.0.2.1", &["192.0.2.1", "::ffff:192.0.2.1"]);
        assert_excludes("::ffff:192.0.2.1", &["192.0.2.1", "::ffff:c000:201"]);
        assert_excludes("2001:DB8:0:0::1", &["2001:db8::1"]);
        assert_excludes("[2001:db8::1]", &["2001:db8::1"]);
        assert_keeps("192.0.2.1", &["192.0.2.11", "1.192.0.2.1", "2001:db8::1", "a.192.0.2.1"]);
    }

    #[test]
    fn a_domain_never_excludes_an_address() {
        assert_keeps("1,2.1,.0.2.1", &["192.0.2.1"]);
    }

    #[test]
    fn a_block_excludes_the_addresses_in_it() {
        assert_excludes("192.0.2.0/24", &["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"]);
        assert_keeps("192.0.2.0/24", &["192.0.3.0", "192.0.1.255", "2001:db8::1", "a"]);
        assert_excludes("192.0.2.77/31", &["192.0.2.76", "192.0.2.77"]);
        assert_keeps("192.0.2.77/31", &["192.0.2.78", "192.0.2.75"]);
        assert_excludes("2001:db8::/32", &["2001:db8::1", "2001:db8:ffff::"]);
        assert_excludes("[2001:db8::]/32", &["2001:db8::1"]);
        assert_keeps("2001:db8::/32", &["2001:db9::", "192.0.2.1"]);
        assert_excludes("::ffff:192.0.2.0/120", &["192.0.2.9"]);
        assert_excludes("0.0.0.0/0", &["255.255.255.255"]);
        assert_keeps("0.0.0.0/0", &["::1"]);
        assert_excludes("::/0", &["ffff::"]);
        assert_excludes("192.0.2.1/32,::1/128", &["192.0.2.1", "::1"]);
        assert_keeps(
            "192.0.2.0/33,::/129,192.0.2.0/,192.0.2.0/-1,192.0.2.0/24:443,a/8",
            &["192.0.2.0", "::", "a"],
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(list in "\\PC{0,40}|[0-9a-f.:,/*\\[\\] ]{0,40}", host in "[a-f0-9.:]{1,20}") {
            excludes(&list, &host, 443);
        }

        #[test]
        fn a_block_contains_what_shares_its_first_bits(block: u32, address: u32, length in 0..=32_u32) {
            let list = format!("{}/{length}", std::net::Ipv4Addr::from(block));
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let host = std::net::Ipv4Addr::from(address).to_string();
            prop_assert_eq!(excludes(&list, &host, 80), block & mask == address & mask);
            let near = std::net::Ipv4Addr::from((block & mask) | (address & !mask)).to_string();
            prop_assert!(excludes(&list, &near, 80));
        }

        #[test]
        fn a_name_is_excluded_by_itself_and_by_each_domain_above_it(
            labels in proptest::collection::vec("[a-z][a-z0-9-]{0,8}", 1..5),
            other in "[a-z]{1,8}",
        ) {
            let name = labels.join(".");
            for first in 0..labels.len() {
                let domain = labels[first..].join(".");
                let list = format!("x.invalid, {domain},y.invalid");
                let dotted = format!(".{domain}");
                let longer = format!("{other}{domain}.{other}");
                prop_assert!(excludes(&list, &name, 80));
                prop_assert!(excludes(&dotted, &name, 80));
                prop_assert!(!excludes(&longer, &name, 80));
            }
        }
    }
}
