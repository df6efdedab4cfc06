//! Everything that can be found to be wrong, by name: what it is about, and how bad it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// What danelaw needs to look at all: a resolver, a clock.
    Here,
    /// The chain of trust from the root to the zone.
    Chain,
    /// What the zone above says of the zone's nameservers.
    Delegation,
    /// A nameserver of the zone.
    Nameserver,
    /// Where mail for the domain goes.
    Mx,
    /// The keys that the domain's mail is signed with.
    Dkim,
    /// A mail server, or another service.
    Service,
    /// The TLSA records of a service, and what it presents.
    Tlsa,
    /// Who may send for the domain (RFC 7208).
    Spf,
    /// What is to become of mail that fails (RFC 7489).
    Dmarc,
    /// The other way to ask for TLS (RFC 8461).
    MtaSts,
    /// Where senders report failures of TLS (RFC 8460).
    TlsRpt,
    /// What senders have reported (RFC 8460).
    Reports,
    /// Which authorities may issue certificates (RFC 8659).
    Caa,
    /// The name of an address.
    Ptr,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Area::Here => "this server",
            Area::Chain => "DNSSEC",
            Area::Delegation => "delegation",
            Area::Nameserver => "nameserver",
            Area::Mx => "MX",
            Area::Dkim => "DKIM",
            Area::Service => "service",
            Area::Tlsa => "TLSA",
            Area::Spf => "SPF",
            Area::Dmarc => "DMARC",
            Area::MtaSts => "MTA-STS",
            Area::TlsRpt => "TLS-RPT",
            Area::Reports => "reports",
            Area::Caa => "CAA",
            Area::Ptr => "PTR",
        })
    }
}

/// How bad it is. The order is that of the exit codes of monitoring plugins, but for what can't be told: that outweighs a warning,
/// and no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// All is well.
    Ok,
    /// Mail comes, and something should be done.
    Warning,
    /// It can't be told.
    Unknown,
    /// Mail is lost, deferred, or comes without protection.
    Critical,
}

impl Level {
    /// All of them.
    pub const WORST_FIRST: [Level; 4] = [Level::Critical, Level::Unknown, Level::Warning, Level::Ok];

    /// The exit code of a monitoring plugin.
    pub fn exit_code(self) -> u8 {
        match self {
            Level::Ok => 0,
            Level::Warning => 1,
            Level::Critical => 2,
            Level::Unknown => 3,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Unknown => "unknown",
            Level::Critical => "critical",
        })
    }
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident: $area:ident $level:ident;)*) => {
        /// Everything that can be found to be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Fault { $($(#[doc = $doc])* $name,)* }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// What it is about.
            pub fn area(self) -> Area {
                match self { $(Fault::$name => Area::$area,)* }
            }

            /// How bad it is.
            pub fn level(self) -> Level {
                match self { $(Fault::$name => Level::$level,)* }
            }
        }
    };
}

faults! {
    /// No resolver answers, so nothing can be validated.
    ResolverDown: Here Unknown;
    /// Nothing validates, not even where trust begins: the clock is wrong, or the resolver leaves DNSSEC's records out.
    NothingValidates: Here Unknown;

    /// It takes longer to look at than anybody waits.
    NoEnd: Here Unknown;
    /// This machine has no way to addresses of that family: nothing is said of what is there.
    NoWayFromHere: Here Ok;
    /// What is spoken there before TLS begins is not known here: nothing is said of what is presented.
    NotSpokenHere: Here Ok;
    /// No connection to port 25 comes about, and none ever did to another machine: networks that let none out are common, and a mail
    /// server that is down looks the same.
    OutgoingBlocked: Here Unknown;

    /// The zone above has no DS.
    DsMissing: Chain Critical;
    /// It has the DS of a key that the zone does not have.
    DsUnknownKey: Chain Critical;
    /// It has a DS whose digest is not the key's.
    DsWrongDigest: Chain Critical;
    /// It has a DS that validators do not know.
    DsAlgorithm: Chain Critical;
    /// Some servers of the zone above have another DS than the chain goes by.
    DsStale: Chain Warning;
    /// The zone above is not trusted itself.
    ParentUnsigned: Chain Critical;
    /// The zone is not signed.
    ZoneUnsigned: Chain Critical;
    /// Resolvers take the zone for bogus: it does not exist for them.
    ZoneBogus: Chain Critical;
    /// It is not known how resolvers take the zone.
    ChainUnknown: Chain Unknown;

    /// No server of the zone above answers.
    ParentUnreachable: Delegation Unknown;
    /// The zone above does not delegate.
    NotDelegated: Delegation Critical;
    /// The NS records at the zone above are not those at the apex.
    NsDiffers: Delegation Warning;
    /// The zone above gives no address of a nameserver that only it can give.
    GlueMissing: Delegation Critical;
    /// The zone above gives other addresses of a nameserver than the zone does.
    GlueDiffers: Delegation Warning;
    /// A nameserver has no address.
    NameserverWithoutAddress: Delegation Critical;
    /// A nameserver is an alias (RFC 2181 section 10.3).
    NameserverAlias: Delegation Warning;
    /// There is one nameserver only (RFC 2182 section 5).
    OneNameserver: Delegation Warning;

    /// It does not answer.
    NameserverSilent: Nameserver Critical;
    /// It answers over UDP alone.
    NoTcp: Nameserver Critical;
    /// It answers over TCP alone.
    NoUdp: Nameserver Critical;
    /// It does not have the zone, or is not authoritative for it.
    Lame: Nameserver Critical;
    /// Its answers can't be used.
    AnswersWrongly: Nameserver Critical;
    /// It serves an older version of the zone.
    SerialBehind: Nameserver Warning;
    /// It serves a newer version than the primary.
    SerialAhead: Nameserver Warning;
    /// It serves signatures that have expired, or are not valid yet.
    SignatureExpired: Nameserver Critical;
    /// It serves signatures that expire soon.
    SignatureExpiring: Nameserver Warning;
    /// It serves no signatures.
    SignatureMissing: Nameserver Critical;
    /// Its TLSA records are others than the primary's.
    TlsaStale: Nameserver Critical;
    /// It does not deny properly what is not there.
    DenialFails: Nameserver Critical;

    /// The domain has no MX.
    MxMissing: Mx Warning;
    /// The domain says that it takes no mail, and names hosts all the same (RFC 7505 section 3).
    MxNull: Mx Critical;
    /// The MX can't be looked up.
    MxUnknown: Mx Unknown;
    /// Resolvers take the MX for bogus.
    MxBogus: Mx Critical;
    /// The MX is not secure, so nobody goes on to the TLSA (RFC 7672 section 2.2.1).
    MxInsecure: Mx Critical;
    /// The addresses of the MX host are not secure, so nobody goes on to the TLSA (RFC 7672 section 2.2.2).
    HostInsecure: Mx Critical;
    /// The MX names an alias (RFC 2181 section 10.3).
    MxAlias: Mx Warning;
    /// The MX names a host without an address.
    MxWithoutAddress: Mx Critical;
    /// The MX names an address in the place of a host.
    MxIsAddress: Mx Critical;
    /// The addresses of an MX host can't be looked up, or are bogus.
    HostUnknown: Mx Unknown;

    /// No selector has a key.
    DkimMissing: Dkim Warning;
    /// The last key is revoked: `p=` is empty (RFC 6376 section 3.6.1).
    DkimRevoked: Dkim Warning;
    /// The key can't be read.
    DkimMalformed: Dkim Warning;
    /// It can't be looked up.
    DkimUnknown: Dkim Unknown;

    /// A host that takes no mail has no address.
    HostWithoutAddress: Service Critical;
    /// The addresses of a host that takes no mail can't be looked up, or are bogus.
    AddressUnknown: Service Unknown;
    /// Nothing listens there.
    Refused: Service Critical;
    /// It can't be reached from here.
    Unreachable: Service Critical;
    /// No connection comes about in time, and nobody says why.
    Unanswered: Service Critical;
    /// It takes longer than anybody waits.
    TimedOut: Service Critical;
    /// The connection breaks.
    Broken: Service Critical;
    /// It does not speak the protocol.
    WrongProtocol: Service Critical;
    /// It does not want to speak with us.
    TurnedAway: Service Critical;
    /// It does not offer STARTTLS.
    StarttlsMissing: Service Critical;
    /// It says something in the clear that would have counted as said over TLS.
    StarttlsInjected: Service Critical;
    /// It does not take TLS 1.2 or later, or ends the handshake otherwise.
    TlsRefused: Service Critical;
    /// The handshake fails.
    TlsFails: Service Critical;

    /// There is none: mail comes without protection.
    TlsaMissing: Tlsa Warning;
    /// Resolvers take it for bogus: senders defer.
    TlsaBogus: Tlsa Critical;
    /// It is not secure: senders do not look at it.
    TlsaInsecure: Tlsa Critical;
    /// It can't be looked up: senders defer.
    TlsaUnknown: Tlsa Unknown;
    /// Nothing in it can be used (RFC 7672 section 3.1.3).
    TlsaUnusable: Tlsa Critical;
    /// No record matches what is presented: mail is deferred.
    TlsaMismatch: Tlsa Critical;
    /// A parameter set has no record that matches (RFC 7671 section 8).
    TlsaPartial: Tlsa Warning;
    /// The trust anchor of `2 x x` is not in the chain that is presented (RFC 7671 section 5.2.2).
    ChainWithoutAnchor: Tlsa Critical;
    /// The chain does not lead from the certificate to the trust anchor: a signature is wrong, or it may not issue.
    ChainBroken: Tlsa Critical;
    /// The certificate is for other hosts, which counts where a trust anchor is published (RFC 7672 section 3.2.2).
    CertificateName: Tlsa Critical;
    /// The certificate has expired, or is not valid yet, which counts where a trust anchor is published.
    CertificateTime: Tlsa Critical;
    /// The certificate has expired; `3 x x` does not look at that, and other clients do.
    CertificateExpired: Tlsa Warning;
    /// It has more records than senders handle.
    TlsaTooMany: Tlsa Warning;
    /// Its TTL makes every repair slow.
    TlsaTtl: Tlsa Warning;
    /// Addresses of one host present different certificates.
    AddressesDiffer: Tlsa Warning;

    /// There is none.
    SpfMissing: Spf Warning;
    /// There are several, which count as none (RFC 7208 section 4.5).
    SpfSeveral: Spf Warning;
    /// It can't be read.
    SpfMalformed: Spf Warning;
    /// It asks for more lookups than are made (RFC 7208 section 4.6.4).
    SpfLookups: Spf Warning;
    /// It lets everybody send.
    SpfOpen: Spf Warning;

    /// There is none.
    DmarcMissing: Dmarc Warning;
    /// It can't be read, or there are several.
    DmarcMalformed: Dmarc Warning;

    /// Its record can't be read, or there are several (RFC 8461 section 3.1).
    StsRecord: MtaSts Warning;
    /// The policy can't be fetched.
    StsPolicyUnreachable: MtaSts Warning;
    /// The policy can't be read.
    StsPolicyMalformed: MtaSts Warning;
    /// An MX host is not in the policy's list: senders that go by it don't send there.
    StsMxDiffers: MtaSts Critical;

    /// Its record can't be read, or there are several (RFC 8460 section 3).
    TlsRptMalformed: TlsRpt Warning;

    /// Senders report that TLSA does not match.
    ReportedTlsa: Reports Critical;
    /// Senders report that DNSSEC fails.
    ReportedDnssec: Reports Critical;
    /// Senders report that the MTA-STS policy fails.
    ReportedSts: Reports Critical;
    /// Senders report other failures of TLS.
    ReportedOther: Reports Warning;
    /// A report can't be read.
    ReportUnreadable: Reports Warning;

    /// It can't be read.
    CaaMalformed: Caa Warning;
    /// It lets nobody issue a certificate.
    CaaForbids: Caa Warning;

    /// An address of the mail server has no name: many receivers refuse mail from there.
    PtrMissing: Ptr Warning;
    /// Its name does not lead back to it.
    PtrDiffers: Ptr Warning;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it is serialised: one spelling for machines and people.
        let debug = format!("{self:?}");
        let mut text = String::with_capacity(debug.len() + 4);
        for character in debug.chars() {
            if character.is_ascii_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.push(character.to_ascii_lowercase());
        }
        f.pad(&text)
    }
}
