//! Addresses of callers: which proxies are ours, what they say, and which callers count as one.

use std::net::IpAddr;
use std::str::FromStr;

/// An address block such as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    bits: u32,
}

impl Block {
    /// True when the address lies in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Block, String> {
        let wrong = || format!("`{text}` is no address and no block like 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(wrong());
        }
        Ok(Block { address, bits })
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == whole {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.bits)
        }
    }
}

impl serde::Serialize for Block {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Block {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Block, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The caller's address: the peer, or what our proxies say of it in `X-Forwarded-For`. Read from the right, because each
/// proxy appends the peer that it saw; a hop that cannot be read ends the walk, since whatever stands left of it may
/// have been written by the caller.
#[must_use]
pub fn caller<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Block],
) -> IpAddr {
    let is_ours = |address: IpAddr| trusted.iter().any(|block| block.contains(address));
    let mut caller = peer.to_canonical();
    for hop in forwarded.rev() {
        if !is_ours(caller) {
            break;
        }
        match address_of(hop.trim()) {
            Some(address) => caller = address,
            None => break,
        }
    }
    caller
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`
fn address_of(hop: &str) -> Option<IpAddr> {
    let address = hop
        .parse()
        .ok()
        .or_else(|| {
            hop.parse()
                .ok()
                .map(|socket: std::net::SocketAddr| socket.ip())
        })
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(IpAddr::to_canonical(&address))
}

/// The callers that count as one: an IPv4 address, or all of an IPv6 /64, because one caller has it all.
#[must_use]
pub fn group(address: &str) -> String {
    match address
        .parse::<IpAddr>()
        .map(|address| address.to_canonical())
    {
        Ok(IpAddr::V6(v6)) => format!("{:x}/64", v6.to_bits() >> 64),
        Ok(IpAddr::V4(v4)) => v4.to_string(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &str) -> String {
        let trusted: Vec<Block> = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        caller(
            peer.parse().unwrap(),
            forwarded.split(',').filter(|hop| !hop.is_empty()),
            &trusted,
        )
        .to_string()
    }

    #[test]
    fn only_what_our_proxies_wrote_is_believed() {
        for (peer, forwarded, wanted) in [
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
            (
                "127.0.0.1",
                "1.1.1.1, 198.51.100.1, 10.1.2.3",
                "198.51.100.1",
            ),
            ("127.0.0.1", "1.1.1.1, 198.51.100.9:5000", "198.51.100.9"),
            ("127.0.0.1", "1.1.1.1, [2001:db8::1]:443", "2001:db8::1"),
            ("127.0.0.1", "1.1.1.1, ::ffff:198.51.100.7", "198.51.100.7"),
            ("127.0.0.1", "1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("fd00::1", "198.51.100.1, nonsense", "fd00::1"),
        ] {
            assert_eq!(seen(peer, forwarded), wanted, "{peer} {forwarded}");
        }
    }

    #[test]
    fn a_block_has_its_bits() {
        let block: Block = "192.0.2.128/25".parse().unwrap();
        assert!(
            block.contains("192.0.2.200".parse().unwrap())
                && !block.contains("192.0.2.1".parse().unwrap())
        );
        assert!(
            "0.0.0.0/0"
                .parse::<Block>()
                .unwrap()
                .contains("8.8.8.8".parse().unwrap())
        );
        for bad in ["", "10.0.0.0/33", "10.0.0.0/x", "host", "::/129"] {
            assert!(bad.parse::<Block>().is_err(), "{bad}");
        }
    }

    #[test]
    fn all_of_a_64_counts_as_one() {
        assert_eq!(group("2001:db8:1:2::3"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::3"), group("2001:db8:1:3::3"));
        assert_eq!(group("::ffff:192.0.2.1"), "192.0.2.1");
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
    }
}
