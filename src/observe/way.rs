//! What this machine's network is: which addresses are its own, and to which there is a way at all. Nothing is sent.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

/// Any port does: nothing is sent there.
const PORT: u16 = 53;
/// Addresses that the kernel does not use: IFA_F_DADFAILED and IFA_F_TENTATIVE.
const UNUSABLE: u32 = 0x48;

/// Whether an address is one of this machine's: what goes there comes from there.
pub fn is_local(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((address, PORT)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    address.is_loopback() || from() == Some(address)
}

/// Whether this machine can reach addresses of that kind at all: public IPv6 only from a public address of its own, whatever the
/// routing table says. What can't be told counts as a way.
pub fn has_way(to: IpAddr) -> bool {
    if !matches!(to, IpAddr::V6(to) if is_public(to)) {
        return true;
    }
    match fs::read_to_string("/proc/net/if_inet6") {
        Ok(addresses) => has_public(&addresses),
        // A kernel without IPv6 has no such file, and one without /proc says nothing.
        Err(error) => error.kind() != ErrorKind::NotFound || !Path::new("/proc/net/dev").exists(),
    }
}

/// Whether an address may be reached from everywhere (RFC 4291 section 2.4, 2000::/3 as IANA gives them out).
fn is_public(address: Ipv6Addr) -> bool {
    address.segments()[0] >> 13 == 1
}

/// Whether one of the kernel's addresses is public: a line each, of address, index, length of the prefix, scope, flags and interface.
fn has_public(addresses: &str) -> bool {
    let is_it = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        Some(is_public(address.into()) && flags & UNUSABLE == 0)
    };
    addresses.lines().any(|line| is_it(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_that_is_used_is_a_way_and_no_other_is() {
        const OTHERS: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
            fe800000000000005054fffffe123456 02 40 20 80     eth0\n\
            fd000000000000000000000000000001 02 40 00 80     eth0\n";
        assert!(!has_public(OTHERS) && !has_public("") && !has_public("nothing\n2001 x\n"));
        let with = |flags: &str| format!("{OTHERS}2a0104f8000600000000000000000001 02 40 00 {flags}     eth0\n");
        assert!(has_public(&with("80")) && has_public(&with("20")), "deprecated, and used");
        assert!(!has_public(&with("40")) && !has_public(&with("88")), "tentative, and refused by a neighbour");
    }

    #[test]
    fn what_is_not_public_ipv6_is_never_without_a_way() {
        for address in ["192.0.2.1", "127.0.0.1", "fd00::1", "fe80::1", "::1"] {
            assert!(has_way(address.parse().expect(address)), "{address}");
        }
        assert!(is_public("2001:db8::1".parse().expect("an address")));
        assert!(is_local([127, 0, 0, 1].into()) && !is_local([192, 0, 2, 1].into()));
    }
}
