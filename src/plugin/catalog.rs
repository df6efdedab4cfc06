//! One zone for a hickory `Catalog`: danelaw's answer taken apart into what a `ZoneHandler` may say.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_server::dnssec::NxProofKind;
use hickory_server::proto::dnssec::rdata::DNSSECRData;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{LowerName, Name, RData, Record, RecordType, TSigResponseContext};
use hickory_server::proto::serialize::binary::BinDecodable;
use hickory_server::server::{Request, RequestInfo};
use hickory_server::zone_handler::{
    AuthLookup, AxfrPolicy, Catalog, LookupControlFlow, LookupError, LookupOptions, LookupRecords, Nsec3QueryInfo,
    ZoneHandler, ZoneTransfer, ZoneType,
};

use super::message::{self, Response};
use super::{PluginError, SharedSnapshot};
use crate::answer::{Context, MESSAGE_MAX, Transport, answer};
use crate::dns::Rtype;
use crate::dns::header::{CLASS_IN, DO};
use crate::zone::snapshot::HashedName;

/// MAILA: no record has this type (RFC 1035 section 3.2.3: for questions only), so that a question for it is denied wherever it may be.
const NO_SUCH_TYPE: RecordType = RecordType::Unknown(254);

/// What Catalog is told of every zone, so that it asks for proofs by the question's name alone. danelaw knows of which kind they are.
static NSEC: NxProofKind = NxProofKind::Nsec;

/// One zone of the snapshot as a `ZoneHandler`.
///
/// Positive answers, NODATA, NXDOMAIN, referrals, wildcards and DNAME come out with their records, signatures and proofs. A zone that
/// the snapshot does not hold, or holds as broken, is passed over (`Skip`): the next handler is asked, and without one Catalog answers SERVFAIL.
///
/// # What `Catalog` 0.26.3 changes on the way out
///
/// [`super::DaneHandler`] has none of this. `tests/differential/catalog.rs` has every change by name, makes it itself, and fails on any other.
///
/// - AA is set on everything that a zone answers: referrals, REFUSED and class ANY included.
/// - Of response codes only NXDOMAIN, REFUSED and NOTAUTH survive, and NXDOMAIN only without an answer section. A CNAME or DNAME whose
///   target does not exist is answered with NOERROR and the chain alone: a resolver then asks for the target. So is a DNAME that makes
///   too long a name (YXDOMAIN). What would be FORMERR is made REFUSED here, since it would come out as NOERROR.
/// - The authority section is put together by Catalog from separate calls: proofs before the SOA, both in the zone's own case. A chain that
///   ends in NODATA or a referral has none; an SOA answer has the apex's NS beside it; a wildcard answer may have a proof more than it
///   needs. A swap of the snapshot may fall between two calls.
/// - A referral's records move into the answer section where the question is for NS or ANY.
/// - The question's class is not looked at for routing. OPT echoes the client's payload size and has no extended error.
/// - Over UDP an answer may be as long as the client says, and is cut between records, not RRsets (TC is set); OPT may be lost then, and
///   pieces of a record may stand behind the last one. AXFR is refused.
/// - An UPDATE gets FORMERR, and SERVFAIL outside all zones; other opcodes than QUERY have RD and CD copied.
/// - A DS at a zone apex goes to the child's handler. It answers for the parent where the snapshot holds both; in a denial the parent's
///   NS stands before its SOA then (RFC 2308 section 2.2, type 1). Where the parent has no such name at all the child says NODATA.
/// - Catalog logs a warning ("unexpected lookup skip") with each positive answer that needs no proof, of any handler with NSEC.
///
/// Where the snapshot holds a zone below this one, register that as well ([`upsert`] does): negative answers get their SOA by handler.
#[derive(Clone, Debug)]
pub struct DaneZone {
    origin: LowerName,
    snapshot: SharedSnapshot,
}

/// Registers every zone that the snapshot holds now; what a catalog had under such an apex is replaced.
///
/// # Errors
///
/// An apex that hickory does not take for a name; those before it are registered.
pub fn upsert(catalog: &mut Catalog, snapshot: &SharedSnapshot) -> Result<(), PluginError> {
    for zone in snapshot.load().zones() {
        let apex = zone.origin();
        let origin = Name::from_bytes(apex.as_wire()).map_err(|_| PluginError::Origin(apex.clone()))?;
        let origin = LowerName::from(origin);
        catalog.upsert(origin.clone(), vec![Arc::new(DaneZone::new(origin, snapshot.clone()))]);
    }
    Ok(())
}

impl DaneZone {
    /// The zone at `origin`, as `snapshot` holds it now and later.
    pub fn new(origin: LowerName, snapshot: SharedSnapshot) -> DaneZone {
        DaneZone { origin, snapshot }
    }

    /// Answers whole: Catalog sees to the size. None where the snapshot lacks the zone or a good version of it.
    fn ask(&self, query: &[u8], peer: IpAddr) -> Option<Response> {
        let snapshot = self.snapshot.load();
        let mut apex = Vec::new();
        message::wire(&self.origin, &mut apex);
        if snapshot.zone_of(&HashedName::new(&apex))??.origin().as_wire().len() != apex.len() {
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut out = vec![0; MESSAGE_MAX];
        let len = answer(&snapshot, &Context::new(peer, Transport::Tcp, now), query, &mut out)?;
        message::decode(&out[..len])
    }

    fn ask_for(&self, name: &Name, rtype: RecordType, dnssec_ok: bool, peer: Option<IpAddr>) -> Option<Response> {
        self.ask(&query(name, rtype, dnssec_ok), peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    /// Catalog would put this handler's SOA and proofs into a denial. Where another zone denies, as a parent does the DS of this one, that
    /// zone's NS goes before its SOA and proofs: as a referral all of them pass through. A parent that does not even have the name is left
    /// out: NXDOMAIN beside the proof that the name exists would be bogus, so this zone says NODATA (RFC 4035 section 3.1.4.1).
    fn with_zone_of_denial(&self, mut response: Response, options: LookupOptions) -> Response {
        let soa = response.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
        let Some(soa) = soa.filter(|soa| response.answers.is_empty() && LowerName::new(&soa.name) != self.origin)
        else {
            return response;
        };
        match response.metadata.response_code {
            ResponseCode::NXDomain => response.metadata.response_code = ResponseCode::NoError,
            _ => {
                if let Some(apex) = self.ask_for(&soa.name, RecordType::NS, options.dnssec_ok, None) {
                    response.authorities.splice(0..0, apex.answers);
                }
            }
        }
        response
    }
}

#[async_trait::async_trait]
impl ZoneHandler for DaneZone {
    fn zone_type(&self) -> ZoneType {
        ZoneType::Primary
    }

    fn axfr_policy(&self) -> AxfrPolicy {
        AxfrPolicy::Deny
    }

    fn origin(&self) -> &LowerName {
        &self.origin
    }

    async fn lookup(
        &self,
        name: &LowerName,
        rtype: RecordType,
        request_info: Option<&RequestInfo<'_>>,
        lookup_options: LookupOptions,
    ) -> LookupControlFlow<AuthLookup> {
        let peer = request_info.map(|info| info.src.ip());
        // Without a request it is Catalog that asks, for the SOA of a negative answer (RFC 2308 section 3: MINIMUM bounds its TTL).
        if rtype == RecordType::SOA && name == &self.origin && request_info.is_none() {
            let denied = self.ask_for(name, NO_SUCH_TYPE, lookup_options.dnssec_ok, peer);
            return found(denied.map(|response| records(response.authorities, &[RecordType::SOA])));
        }
        match self.ask_for(name, rtype, lookup_options.dnssec_ok, peer) {
            Some(response) => outcome(self.with_zone_of_denial(response, lookup_options)),
            None => LookupControlFlow::Skip,
        }
    }

    async fn search(
        &self,
        request: &Request,
        lookup_options: LookupOptions,
    ) -> (LookupControlFlow<AuthLookup>, Option<TSigResponseContext>) {
        let found = match self.ask(request.as_slice(), request.src().ip()) {
            Some(response) => outcome(self.with_zone_of_denial(response, lookup_options)),
            None => LookupControlFlow::Skip,
        };
        (found, None)
    }

    async fn nsec_records(&self, name: &LowerName, lookup_options: LookupOptions) -> LookupControlFlow<AuthLookup> {
        if !lookup_options.dnssec_ok {
            return LookupControlFlow::Continue(Ok(AuthLookup::Empty));
        }
        let Some(denied) = self.ask_for(name, NO_SUCH_TYPE, true, None) else { return LookupControlFlow::Skip };
        found(Some(records(denied.authorities, &[RecordType::NSEC, RecordType::NSEC3])))
    }

    /// Never asked for: [`ZoneHandler::nsec_records`] gives the proofs of either kind.
    async fn nsec3_records(
        &self,
        _info: Nsec3QueryInfo<'_>,
        _lookup_options: LookupOptions,
    ) -> LookupControlFlow<AuthLookup> {
        LookupControlFlow::Continue(Ok(AuthLookup::Empty))
    }

    /// The default, NOTIMP, would come out as NOERROR.
    async fn zone_transfer(
        &self,
        _request: &Request,
        _lookup_options: LookupOptions,
        _now: u64,
    ) -> Option<(Result<ZoneTransfer, LookupError>, Option<TSigResponseContext>)> {
        Some((Err(ResponseCode::Refused.into()), None))
    }

    fn nx_proof_kind(&self) -> Option<&NxProofKind> {
        Some(&NSEC)
    }
}

/// What Catalog is told, so that it comes as near to the response as it can.
fn outcome(response: Response) -> LookupControlFlow<AuthLookup> {
    let Response { metadata, answers, authorities, additionals, .. } = response;
    if metadata.response_code == ResponseCode::ServFail {
        return LookupControlFlow::Skip;
    }
    let is_referral = authorities.first().is_some_and(|record| record.record_type() == RecordType::NS);
    LookupControlFlow::Continue(match metadata.response_code {
        _ if !answers.is_empty() => Ok(both(answers, additionals)),
        // Catalog moves what begins with an NS into the authority section.
        ResponseCode::NoError if is_referral => Ok(both(authorities, additionals)),
        ResponseCode::NoError => Err(LookupError::NameExists),
        ResponseCode::NXDomain => Err(ResponseCode::NXDomain.into()),
        _ => Err(ResponseCode::Refused.into()),
    })
}

fn both(answers: Vec<Record>, additionals: Vec<Record>) -> AuthLookup {
    AuthLookup::answers(LookupRecords::Section(answers), Some(LookupRecords::Section(additionals)))
}

fn found(records: Option<Vec<Record>>) -> LookupControlFlow<AuthLookup> {
    match records {
        Some(records) => LookupControlFlow::Continue(Ok(LookupRecords::Section(records).into())),
        None => LookupControlFlow::Skip,
    }
}

/// The records of some types, and their signatures.
fn records(mut section: Vec<Record>, types: &[RecordType]) -> Vec<Record> {
    section.retain(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => types.contains(&rrsig.input().type_covered),
        data => types.contains(&data.record_type()),
    });
    section
}

/// A query's octets, with EDNS where signatures are wanted.
fn query(name: &Name, rtype: RecordType, dnssec_ok: bool) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(dnssec_ok)];
    message::wire(name, &mut out);
    out.extend_from_slice(&u16::from(rtype).to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    if dnssec_ok {
        out.push(0);
        out.extend_from_slice(&Rtype::OPT.0.to_be_bytes());
        out.extend_from_slice(&u16::MAX.to_be_bytes());
        out.extend_from_slice(&[0, 0, DO, 0, 0, 0]);
    }
    out
}
