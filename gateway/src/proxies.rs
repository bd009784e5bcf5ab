//! Where a call came from that a proxy passed on: what proxies say of it, as far as it is said by those that the operator
//! trusts.
//!
//! Each proxy adds the address that it was called from at the end of a list. So the list is read from its end: what a
//! trusted proxy has added is true, and the first address that is no trusted proxy's is the caller's. What stands before
//! it was written by the caller, and is not looked at.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use http::HeaderMap;
use http::header::FORWARDED;

/// What most proxies write; `Forwarded` is its standard (RFC 7239).
const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Addresses and blocks that may be trusted.
const BLOCKS_MAX: usize = 64;

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    blocks: Vec<Block>,
    /// Of one call, one behind the other.
    hops_max: usize,
}

/// An address, or all that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    network: IpAddr,
    bits: u32,
}

impl Proxies {
    /// # Errors
    ///
    /// An entry that is none, or one too many.
    pub(crate) fn new(trusted: &[String], hops_max: usize) -> anyhow::Result<Self> {
        ensure!(trusted.len() <= BLOCKS_MAX, "gateway.trusted_proxies has more than {BLOCKS_MAX} entries");
        let blocks = trusted.iter().map(|text| {
            Block::parse(text.trim()).with_context(|| format!("{text:?} of gateway.trusted_proxies cannot be used"))
        });
        Ok(Self { blocks: blocks.collect::<anyhow::Result<_>>()?, hops_max })
    }

    /// Whether the word of whoever calls from this address is taken.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.blocks.iter().any(|block| block.contains(address))
    }

    /// Where the call of a trusted proxy came from. None if that is not said, or not in a way that is understood.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> Option<IpAddr> {
        match (headers.contains_key(X_FORWARDED_FOR), headers.contains_key(FORWARDED)) {
            (false, false) => None,
            (true, false) => self.outermost(listed(headers)),
            (false, true) => self.outermost(forwarded(headers)),
            // A proxy that writes one of them passes the other one on, whoever wrote it.
            (true, true) => {
                let (one, other) = (self.outermost(listed(headers)), self.outermost(forwarded(headers)));
                one.filter(|_| one == other)
            }
        }
    }

    /// The first address that is no trusted proxy's; the last one, if all of them are.
    fn outermost(&self, mut hops: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut outermost = None;
        for _ in 0..self.hops_max {
            let Some(hop) = hops.next() else { return outermost };
            let address = hop?;
            if !self.trusts(address) {
                return Some(address);
            }
            outermost = Some(address);
        }
        if hops.next().is_none() { outermost } else { None }
    }
}

impl Block {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(network) = address.parse::<IpAddr>() else {
            bail!("it has to be an address or a block, such as 10.0.0.7 or 10.0.0.0/8");
        };
        ensure!(network == network.to_canonical(), "it has to be written as the IPv4 address that it is");
        let all = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            Some(bits) => {
                let number = bits.parse::<u32>().ok().filter(|_| bits.bytes().all(|byte| byte.is_ascii_digit()));
                number
                    .filter(|number| (1..=all).contains(number))
                    .with_context(|| format!("/{bits} is not 1 to {all}"))?
            }
        };
        let block = Self { network, bits };
        ensure!(block.is_plain(), "its address has bits beyond its /{bits}");
        Ok(block)
    }

    /// Whether the address has no bit beyond those that count.
    fn is_plain(self) -> bool {
        // There are 32 or 128, and as many count at most.
        match self.network {
            IpAddr::V4(network) => network.to_bits().trailing_zeros() >= 32 - self.bits,
            IpAddr::V6(network) => network.to_bits().trailing_zeros() >= 128 - self.bits,
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// The addresses of `X-Forwarded-For`, the last one first; none for what is no address.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
    values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')).map(node)
}

/// The addresses of `Forwarded`, the last one first; none for what is no address.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let values = headers.get_all(FORWARDED).iter().rev();
    values.flat_map(|value| match parts(value.to_str().unwrap_or_default(), ',') {
        Some(elements) => elements.into_iter().rev().map(forwarded_for).collect::<Vec<_>>(),
        // What a quote swallows that a caller has left open is the proxies'.
        None => vec![None],
    })
}

/// The address that an element of `Forwarded` says the call came from.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = parts(element, ';')?.into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
    match value.strip_prefix('"') {
        Some(quoted) => node(quoted.strip_suffix('"')?),
        None => node(value),
    }
}

/// The parts of a text, but for separators within quotes; none if a quote is left open.
fn parts(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_separator = |letter: char| {
        let separates = letter == separator && !is_quoted;
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        separates
    };
    let parts = text.split(is_separator).collect();
    (!is_quoted).then_some(parts)
}

/// An address, with a port or without: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(address.parse().ok().filter(|_| is_whole)?)
        }
        None => match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => {
                let (address, port) = text.split_once(':')?;
                IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
            }
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};
    use openorder_fuzzing::{Random, fuzz};
    use proptest::prelude::*;

    use super::*;

    fn proxies(trusted: &[&str]) -> Proxies {
        Proxies::new(&trusted.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(), 4).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// What is made of lines that proxies in 10.0.0.0/8 have added.
    fn origin(lines: &[(&'static str, &str)]) -> Option<IpAddr> {
        proxies(&["10.0.0.0/8"]).origin(&headers(lines))
    }

    #[test]
    fn blocks_hold_what_begins_as_they_do() {
        let trusted = proxies(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "::1"]);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:7fff::1", "::1", "::ffff:10.1.2.3"] {
            assert!(trusted.trusts(address(inside)), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "192.0.2.6", "2001:db8:8000::", "::2", "127.0.0.1"] {
            assert!(!trusted.trusts(address(outside)), "{outside}");
        }
        assert!(!Proxies::default().trusts(address("127.0.0.1")));
    }

    #[test]
    fn what_is_no_block_is_refused_by_name() {
        for wrong in [
            "",
            "proxy",
            "10.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.1/8",
            "2001:db8::1/64",
            "::ffff:10.0.0.1",
            "10.0.0",
            "10.0.0.1:80",
        ] {
            let refused = Proxies::new(&[wrong.to_owned()], 4).unwrap_err().to_string();
            assert!(refused.contains("gateway.trusted_proxies"), "{wrong}: {refused}");
        }
        assert!(Proxies::new(&vec!["10.0.0.1".to_owned(); 65], 4).is_err());
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_callers() {
        let caller = Some(address("192.0.2.7"));
        for line in [
            "192.0.2.7",
            "192.0.2.7:4711",
            "198.51.100.1, 192.0.2.7",
            "nonsense, 192.0.2.7",
            "192.0.2.7, 10.0.0.1 ,10.0.0.2",
            "::ffff:192.0.2.7",
            "[::ffff:192.0.2.7]:1",
        ] {
            assert_eq!(origin(&[(X_FORWARDED_FOR, line)]), caller, "{line}");
        }
        let two = [(X_FORWARDED_FOR, "198.51.100.1"), (X_FORWARDED_FOR, "192.0.2.7, 10.0.0.1")];
        assert_eq!(origin(&two), caller, "lines are one list");
        let inside = Some(address("10.0.0.3"));
        assert_eq!(origin(&[(X_FORWARDED_FOR, "10.0.0.3, 10.0.0.1")]), inside, "a caller among the proxies");
    }

    #[test]
    fn the_standard_form_is_read_as_well() {
        let caller = Some(address("192.0.2.7"));
        for line in [
            "for=192.0.2.7",
            "For=\"192.0.2.7:4711\";proto=https;by=10.0.0.1",
            "for=198.51.100.1, proto=http; for=192.0.2.7",
            "for=\"a,b;c\", for=192.0.2.7",
            "for=192.0.2.7, for=\"10.0.0.1\"",
            "for=\"\\\",\", for=192.0.2.7",
        ] {
            assert_eq!(origin(&[("forwarded", line)]), caller, "{line}");
        }
        assert_eq!(origin(&[("forwarded", "for=\"[2001:db8::7]:4711\"")]), Some(address("2001:db8::7")));
    }

    #[test]
    fn what_is_not_understood_is_the_proxys_own_call() {
        for line in [
            "",
            "unknown",
            "192.0.2.7,",
            "192.0.2.7, nonsense",
            "192.0.2.7, 10.0.0.256",
            "192.0.2.7:",
            "192.0.2.7:66000",
            "[2001:db8::7",
            "[192.0.2.7]",
            "2001:db8::7:xyz",
            "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5",
        ] {
            assert_eq!(origin(&[(X_FORWARDED_FOR, line)]), None, "{line}");
        }
        for line in [
            "",
            "for",
            "by=192.0.2.7",
            "for=unknown",
            "for=_hidden",
            "for=\"192.0.2.7",
            "for=\"x, for=192.0.2.7",
            // The first quote is the caller's, and would hide what the proxy has added.
            "for=198.51.100.1;x=\", for=\"192.0.2.7\"",
            "for=198.51.100.1;x=\"\\, for=192.0.2.7",
        ] {
            assert_eq!(origin(&[("forwarded", line)]), None, "{line}");
        }
        assert_eq!(origin(&[]), None);
    }

    #[test]
    fn two_headers_count_only_where_they_say_the_same() {
        let both = |one, other| origin(&[(X_FORWARDED_FOR, one), ("forwarded", other)]);
        assert_eq!(both("192.0.2.7", "for=192.0.2.7, for=10.0.0.1"), Some(address("192.0.2.7")));
        assert_eq!(both("192.0.2.7", "for=198.51.100.1"), None, "one of them is the caller's own");
        assert_eq!(both("192.0.2.7", "nonsense"), None);
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
            .prop_map(|address| address.to_canonical())
    }

    /// As a proxy writes it: `style` draws the header and the form.
    fn written(hops: &[IpAddr], style: usize) -> (&'static str, String) {
        let form = |hop: &IpAddr| match (hop, style) {
            (IpAddr::V6(hop), 1 | 3) => format!("[{hop}]:4711"),
            (IpAddr::V4(hop), 1 | 3) => format!("{hop}:4711"),
            (hop, _) => hop.to_string(),
        };
        let hops = hops.iter().map(form);
        match style {
            0 | 1 => (X_FORWARDED_FOR, hops.collect::<Vec<_>>().join(", ")),
            _ => ("forwarded", hops.map(|hop| format!("proto=https;for=\"{hop}\"")).collect::<Vec<_>>().join(",")),
        }
    }

    /// What a caller may have written, near to what proxies write.
    fn lie(random: &mut Random) -> Vec<u8> {
        const KNOWN: [&str; 7] = [
            "198.51.100.1",
            "10.0.0.9",
            "[2001:db8::9]:1",
            "for=198.51.100.1",
            "for=\"_hidden\";by=x",
            "for=\"",
            "unknown",
        ];
        let parts: Vec<String> = (0..random.below(5))
            .map(|_| if random.chance(70) { (*random.one_of(&KNOWN)).to_owned() } else { random.text(20) })
            .collect();
        random.damaged(parts.join(",").into_bytes())
    }

    /// Whatever a caller writes, it is who the proxies say, or the proxy itself.
    #[test]
    fn fuzz_forwarded_addresses() {
        let trusted = proxies(&["10.0.0.0/8"]);
        fuzz("forwarded_addresses", |random| {
            let caller = match random.bits().to_be_bytes() {
                bytes @ [0..=127, ..] => IpAddr::from([192, 0, 2, bytes[1]]),
                bytes => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(bytes[1])]),
            };
            let mut hops = vec![caller];
            hops.extend((0..random.below(4)).map(|hop| IpAddr::from([10, 0, 0, u8::try_from(hop).unwrap()])));
            let (name, said) = written(&hops, random.below(4));
            let (lie, is_one_line) = (lie(random), random.chance(50));
            // What the last proxy wrote may be damaged as well: then nobody knows, but it is read or it is not.
            let (intact, line) = (random.chance(70), said.into_bytes());
            let line = if intact { line } else { random.damaged(line) };
            let values =
                if is_one_line { vec![[lie.as_slice(), b", ", &line].concat()] } else { vec![lie.clone(), line] };
            let mut headers = HeaderMap::new();
            for value in values {
                // No server takes what is no header.
                let Ok(value) = HeaderValue::from_bytes(&value) else { return false };
                headers.append(name, value);
            }
            let origin = trusted.origin(&headers);
            // On its own line, a caller can hide where it is, and is taken for the proxy then; it is never another one.
            let may_be_hidden = is_one_line && (lie.contains(&b'"') || !lie.is_ascii());
            assert!(
                !intact || origin == Some(caller) || (may_be_hidden && origin.is_none()),
                "{headers:?}: {origin:?}"
            );
            assert!(origin.is_none_or(|address| address == address.to_canonical()));
            origin.is_some()
        });
    }

    proptest! {
        /// Whatever a caller writes before it: what the proxies added counts, and nothing else.
        #[test]
        fn nothing_that_a_caller_writes_makes_it_another_caller(
            lie in "[ -~]{0,60}",
            caller in any_address(),
            proxies_on_the_way in proptest::collection::vec(any::<[u8; 3]>(), 0..4),
            style in 0_usize..4,
        ) {
            let trusted = proxies(&["10.0.0.0/8"]);
            prop_assume!(!trusted.trusts(caller));
            let mut hops = vec![caller];
            hops.extend(proxies_on_the_way.iter().map(|[a, b, c]| IpAddr::from([10, *a, *b, *c])));
            let (name, said) = written(&hops, style);
            // On a line of its own, and before what is added to its line.
            let lines = headers(&[(name, lie.as_str()), (name, said.as_str())]);
            prop_assert_eq!(trusted.origin(&lines), Some(caller));
            let line = format!("{lie}, {said}");
            let origin = trusted.origin(&headers(&[(name, line.as_str())]));
            // With a quote that it leaves open, a caller is at most taken for the proxy.
            prop_assert!(origin == Some(caller) || (style > 1 && lie.contains('"') && origin.is_none()), "{:?}", origin);
        }

        #[test]
        fn no_header_makes_the_reading_panic(
            name in prop_oneof![Just(X_FORWARDED_FOR), Just("forwarded")],
            value in "[ -~]{0,200}",
        ) {
            let trusted = proxies(&["10.0.0.0/8", "::1"]);
            let origin = trusted.origin(&headers(&[(name, value.as_str())]));
            prop_assert!(origin.is_none_or(|address| address == address.to_canonical()));
        }

        #[test]
        fn a_block_holds_an_address_exactly_where_their_first_bits_are_the_same(
            network in any_address(),
            other in any_address(),
            bits in 1_u32..=128,
        ) {
            let of_bits = |address: IpAddr| match address {
                IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
                IpAddr::V6(address) => (address.to_bits(), 128),
            };
            let (all, length) = of_bits(network);
            let bits = bits.min(length);
            let mask = u128::MAX << (128 - bits);
            let network = match network {
                IpAddr::V4(_) => IpAddr::V4(u32::try_from((all & mask) >> 96).unwrap().into()),
                IpAddr::V6(_) => IpAddr::V6((all & mask).into()),
            };
            prop_assume!(network == network.to_canonical());
            let block = Block::parse(&format!("{network}/{bits}")).unwrap();
            let expected = network.is_ipv4() == other.is_ipv4() && of_bits(other).0 & mask == all & mask;
            prop_assert_eq!(block.contains(other), expected);
            prop_assert!(block.contains(network));
        }
    }
}
