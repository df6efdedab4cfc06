//! What each type's RDATA looks like, for the help line beneath an error.

use crate::dns::Rtype;

/// An example of the type's presentation form; none for a type that is opaque here.
pub fn syntax(rtype: Rtype) -> Option<&'static str> {
    Some(match rtype {
        Rtype::A => "A 192.0.2.1",
        Rtype::NS => "NS ns1.example.org.",
        Rtype::CNAME => "CNAME www.example.org.",
        Rtype::SOA => {
            "SOA ns1.example.org. hostmaster.example.org. 2024010101 7200 3600 1209600 3600 (primary, mailbox, serial, refresh, retry, expire, minimum)"
        }
        Rtype::MB => "MB host.example.org.",
        Rtype::MG | Rtype::MR => "MG mailbox.example.org.",
        Rtype::MINFO => "MINFO requests.example.org. errors.example.org.",
        Rtype::RT => "RT 10 relay.example.org.",
        Rtype::PX => "PX 10 map822.example.org. mapx400.example.org.",
        Rtype::PTR => "PTR host.example.org.",
        Rtype::HINFO => "HINFO \"amd64\" \"Linux\"",
        Rtype::MX => "MX 10 mail.example.org.",
        Rtype::TXT | Rtype::SPF => "TXT \"text of up to 255 octets\" \"and more\"",
        Rtype::RP => "RP hostmaster.example.org. info.example.org.",
        Rtype::AFSDB => "AFSDB 1 db.example.org.",
        Rtype::AAAA => "AAAA 2001:db8::1",
        Rtype::LOC => "LOC 52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m",
        Rtype::SRV => "SRV 0 5 443 host.example.org. (priority, weight, port, target)",
        Rtype::NAPTR => "NAPTR 100 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.org.",
        Rtype::KX => "KX 10 kx.example.org.",
        Rtype::CERT => "CERT PKIX 12345 8 MIIB... (type, key tag, algorithm, base64)",
        Rtype::DNAME => "DNAME example.net.",
        Rtype::APL => "APL 1:192.0.2.0/24 !1:192.0.2.128/25 2:2001:db8::/32",
        Rtype::DS | Rtype::CDS => "DS 12345 13 2 0A1B... (key tag, algorithm, digest type, hexadecimal digest)",
        Rtype::SSHFP => "SSHFP 4 2 0A1B... (algorithm, hash, hexadecimal fingerprint)",
        Rtype::IPSECKEY => {
            "IPSECKEY 10 1 2 192.0.2.1 AQNR... (precedence, gateway type, algorithm, gateway, base64 key)"
        }
        Rtype::RRSIG => "RRSIG A 13 2 3600 20300101000000 20291201000000 12345 example.org. base64",
        Rtype::NSEC => "NSEC next.example.org. A MX RRSIG NSEC",
        Rtype::DNSKEY | Rtype::CDNSKEY => "DNSKEY 257 3 13 base64 (flags, protocol, algorithm, key)",
        Rtype::DHCID => "DHCID base64",
        Rtype::NSEC3 => "NSEC3 1 0 0 - 0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM A RRSIG",
        Rtype::NSEC3PARAM => "NSEC3PARAM 1 0 0 - (hash, flags, iterations, salt)",
        Rtype::TLSA | Rtype::SMIMEA => "TLSA 3 1 1 0A1B... (usage, selector, matching type, hexadecimal data)",
        Rtype::HIP => "HIP 2 200100107B1A74DF365639CC39F1D578 AwEA... rvs.example.org.",
        Rtype::OPENPGPKEY => "OPENPGPKEY base64",
        Rtype::CSYNC => "CSYNC 2024010101 3 A NS AAAA (serial, flags, types)",
        Rtype::ZONEMD => "ZONEMD 2024010101 1 1 0A1B... (serial, scheme, hash, hexadecimal digest)",
        Rtype::SVCB => "SVCB 1 svc.example.org. alpn=\"h2,h3\" port=8443",
        Rtype::HTTPS => "HTTPS 1 . alpn=\"h2,h3\"",
        Rtype::EUI48 => "EUI48 00-00-5e-00-53-2a",
        Rtype::EUI64 => "EUI64 00-00-5e-ef-10-00-00-2a",
        Rtype::URI => "URI 10 1 \"https://www.example.org/\" (priority, weight, target)",
        Rtype::CAA => "CAA 0 issue \"ca.example.net\" (flags, tag, value)",
        _ => return None,
    })
}
