//! Which addresses may be reached: everything but the special-use ones of RFC 6890 and its registries. An address that
//! carries another one inside (mapped, NAT64, 6to4) is judged by the one inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not reached; `None` when it may be. `loopback` opens loopback addresses, for development.
pub(super) fn refused(address: IpAddr, loopback: bool) -> Option<&'static str> {
    let why = match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    };
    why.filter(|why| !(loopback && *why == LOOPBACK))
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    V4.iter()
        .find(|(network, length, _)| (bits ^ u32::from(*network)).leading_zeros() >= *length)
        .map(|(.., why)| *why)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inside) = carried(address) {
        return special_v4(inside);
    }
    let bits = u128::from(address);
    V6.iter()
        .find(|(network, length, _)| (bits ^ u128::from(*network)).leading_zeros() >= *length)
        .map(|(.., why)| *why)
        // Nothing else than 2000::/3 is assigned for global unicast.
        .or_else(|| (bits >> 125 != 1).then_some(RESERVED))
}

/// The IPv4 address to which packets for an IPv6 address go in the end.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(last(high, low))
        }
        [0x2002, high, low, ..] => Some(last(high, low)),
        _ => None,
    }
}

const LOOPBACK: &str = "a loopback address (RFC 6890)";
const PRIVATE: &str = "a private address (RFC 6890)";
const LINK: &str = "a link-local address (RFC 6890)";
const DOCUMENTATION: &str = "an address of documentation (RFC 6890)";
const MULTICAST: &str = "a multicast address";
const RESERVED: &str = "a reserved address (RFC 6890)";

const V4: [(Ipv4Addr, u32, &str); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8, RESERVED),
    (Ipv4Addr::new(10, 0, 0, 0), 8, PRIVATE),
    (Ipv4Addr::new(100, 64, 0, 0), 10, PRIVATE),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK),
    (Ipv4Addr::new(172, 16, 0, 0), 12, PRIVATE),
    (Ipv4Addr::new(192, 0, 0, 0), 24, RESERVED),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, RESERVED),
    (Ipv4Addr::new(192, 168, 0, 0), 16, PRIVATE),
    (Ipv4Addr::new(198, 18, 0, 0), 15, PRIVATE),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, MULTICAST),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED),
];

/// What is not global although it lies in `2000::/3`, and what deserves a better word than "reserved". The few global
/// assignments within `2001::/23` are anycast services; no client keeps a document there.
const V6: [(Ipv6Addr, u32, &str); 8] = [
    (Ipv6Addr::LOCALHOST, 128, LOOPBACK),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, RESERVED),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        DOCUMENTATION,
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        DOCUMENTATION,
    ),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, PRIVATE),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, PRIVATE),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, MULTICAST),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_refused(address: &str) -> bool {
        refused(address.parse().unwrap(), false).is_some()
    }

    #[test]
    fn every_special_use_address_is_refused() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.9",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(is_refused(address), "{address}");
        }
    }

    #[test]
    fn public_addresses_and_their_neighbours_are_reached() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(!is_refused(address), "{address}");
        }
    }

    #[test]
    fn development_opens_loopback_and_nothing_else() {
        let opened = |address: &str| refused(address.parse().unwrap(), true).is_none();
        assert!(opened("127.0.0.1") && opened("::1") && opened("::ffff:127.0.0.1"));
        assert!(!opened("10.0.0.1") && !opened("169.254.169.254") && !opened("fd00::1"));
    }

    proptest! {
        #[test]
        fn a_mapped_translated_or_tunnelled_address_is_judged_like_the_one_inside(bits: u32) {
            let inside = Ipv4Addr::from(bits);
            let [a, b, c, d] = inside.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for outside in [
                inside.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(special_v6(outside), special_v4(inside));
            }
        }

        #[test]
        fn what_the_standard_library_calls_private_is_refused(bits: u32) {
            let address = Ipv4Addr::from(bits);
            if address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast()
                || address.is_documentation() || address.is_broadcast() || address.is_unspecified()
            {
                prop_assert!(special_v4(address).is_some());
            }
        }
    }
}
