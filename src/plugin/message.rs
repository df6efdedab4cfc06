//! Our response octets as hickory's records: what its `MessageResponse` wants. Octets of RDATA come out as they went in.

use hickory_server::proto::op::{Edns, Header, Metadata};
use hickory_server::proto::rr::rdata::NULL;
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::proto::serialize::binary::{
    BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict,
};
use hickory_server::zone_handler::Queries;

use crate::dns::Rtype;
use crate::dns::rtype::Field;

/// A response taken apart.
pub struct Response {
    /// The header, BADVERS's upper bits merged into its response code.
    pub metadata: Metadata,
    /// The question, octet for octet.
    pub queries: Queries,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section, OPT left out.
    pub additionals: Vec<Record>,
    /// The OPT record.
    pub edns: Option<Edns>,
}

/// Takes a response apart. None only for what is not a well-formed message.
pub fn decode(response: &[u8]) -> Option<Response> {
    let mut decoder = BinDecoder::new(response);
    let Header { mut metadata, counts } = Header::read(&mut decoder).ok()?;
    let queries = Queries::read(&mut decoder, usize::from(counts.queries)).ok()?;
    let mut reader = Reader { message: &decoder, octets: response, at: decoder.index() };
    let answers = reader.section(counts.answers)?;
    let authorities = reader.section(counts.authorities)?;
    let mut additionals = reader.section(counts.additionals)?;
    let opt = additionals.iter().position(|record| record.record_type() == RecordType::OPT);
    let edns = opt.map(|index| Edns::from(&additionals.remove(index)));
    if let Some(edns) = &edns {
        metadata.merge_response_code(edns.rcode_high());
    }
    Some(Response { metadata, queries, answers, authorities, additionals, edns })
}

struct Reader<'a> {
    message: &'a BinDecoder<'a>,
    octets: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn section(&mut self, count: u16) -> Option<Vec<Record>> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Option<Record> {
        let name = self.name()?;
        let rtype = self.u16()?;
        let class = self.u16()?;
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let end = usize::from(self.u16()?) + self.at;
        let rdata = match RecordType::from(rtype) {
            // hickory makes its Edns from this variant only.
            RecordType::OPT => typed(RecordType::OPT, self.octets.get(self.at..end)?)?,
            code => {
                let rdata = self.expand(Rtype(rtype), end)?;
                faithful(code, &rdata).unwrap_or_else(|| RData::Unknown { code, rdata: NULL::with(rdata) })
            }
        };
        self.at = end;
        let mut record = Record::from_rdata(name, ttl, rdata);
        record.dns_class = DNSClass::from(class);
        Some(record)
    }

    /// RDATA up to `end`, the names that may be compressed written out (RFC 3597 section 4: those of RFC 1035's types only).
    fn expand(&mut self, rtype: Rtype, end: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(end.checked_sub(self.at)?);
        for field in rtype.info().map_or(&[][..], |info| info.fields) {
            match field {
                Field::Name { compress: true, .. } => wire(&self.name()?, &mut out),
                Field::U16 => out.extend_from_slice(&self.u16()?.to_be_bytes()),
                // Before MX's exchange stands a U16, before SOA's and MINFO's names nothing; all else has no compressed name.
                _ => break,
            }
        }
        out.extend_from_slice(self.octets.get(self.at..end)?);
        Some(out)
    }

    fn name(&mut self) -> Option<Name> {
        let mut decoder = self.message.clone(u16::try_from(self.at).ok()?);
        let name = Name::read(&mut decoder).ok()?;
        self.at = decoder.index();
        Some(name)
    }

    fn u16(&mut self) -> Option<u16> {
        let octets = self.octets.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([octets[0], octets[1]]))
    }
}

/// The RDATA in hickory's type, where that writes out the very octets it has read. Of a port of four octets in an HTTPS record, for one,
/// it writes two: what a signature covers must stay, so such RDATA stays opaque.
fn faithful(code: RecordType, rdata: &[u8]) -> Option<RData> {
    let typed = typed(code, rdata)?;
    let mut again = Vec::with_capacity(rdata.len());
    let mut encoder = BinEncoder::new(&mut again);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    typed.emit(&mut encoder).ok()?;
    (again == rdata && typed.record_type() == code).then_some(typed)
}

fn typed(code: RecordType, rdata: &[u8]) -> Option<RData> {
    let length = u16::try_from(rdata.len()).ok()?;
    let mut decoder = BinDecoder::new(rdata);
    let typed = RData::read(&mut decoder, code, Restrict::new(length)).ok()?;
    (decoder.index() == rdata.len()).then_some(typed)
}

/// Appends a hickory name in wire form.
pub fn wire(name: &Name, out: &mut Vec<u8>) {
    for label in name.iter() {
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RDATA that hickory reads; changed octets make of it what hickory takes for something else than it is.
    const RDATAS: &[(u16, &[u8])] = &[
        (1, &[127, 0, 0, 1]),
        (13, b"\x03CPU\x02OS"),
        (16, b"\x00\x03\xff\x00\""),
        (33, b"\x00\x01\x00\x02\x00\x19\x04Mail\x00"),
        (35, b"\x00\x01\x00\x02\x01S\x07SIP+D2U\x00\x01a\x00"),
        (37, &[0, 1, 0, 2, 13, 1, 2, 3]),
        (39, b"\x03New\x00"),
        (43, &[0, 1, 13, 2, 7, 7, 7, 7]),
        (44, &[4, 2, 0xff, 0xee]),
        (46, b"\x00\x34\x0d\x05\x00\x00\x0e\x10\x7f\x00\x00\x00\x60\x00\x00\x00\x12\x34\x03Org\x00\x01\x02\x03"),
        (47, b"\x03Org\x00\x00\x06\x40\x00\x00\x08\x00\x03"),
        (48, &[1, 1, 3, 13, 9, 9, 9]),
        (50, &[1, 0, 0, 0, 0, 2, 9, 9, 0, 1, 0x40]),
        (51, &[1, 0, 0, 0, 0]),
        (52, &[3, 1, 1, 0xab, 0xab]),
        (53, &[3, 1, 1, 0xab, 0xab]),
        (59, &[0, 0, 0, 0, 0]),
        (60, &[0, 0, 3, 0, 0]),
        (61, &[0x99, 1, 2]),
        (62, &[0, 0, 0, 7, 0, 3, 0, 1, 0x40]),
        (64, b"\x00\x01\x03Svc\x00\x00\x01\x00\x03\x02h2\x00\x03\x00\x02\x00\x35\xff\x00\x00\x01\x07"),
        (65, b"\x00\x01\x00\x00\x04\x00\x04\x7f\x00\x00\x01"),
        (65, b"\x00\x01\x00\x00\x03\x00\x04\x7f\x00\x00\x01"),
        (257, b"\x80\x05issueca.example; a=b"),
        (257, b"\x01\x05iodefmailto:a@b.example"),
        (65_281, &[0xc0, 0x0c, 1]),
    ];

    /// A response with one record and no question.
    fn response(rtype: u16, rdata: &[u8]) -> Vec<u8> {
        let head = [0, 1, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        let length = (rdata.len() as u16).to_be_bytes();
        [&head[..], &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length, rdata].concat()
    }

    fn emitted(rtype: u16, rdata: &[u8]) -> Vec<u8> {
        let decoded = decode(&response(rtype, rdata)).unwrap();
        let mut out = Vec::new();
        decoded.answers[0].emit(&mut BinEncoder::new(&mut out)).unwrap();
        out[11..].to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rdata_comes_out_as_it_went_in(
            index in 0..RDATAS.len(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let (rtype, rdata) = RDATAS[index];
            let mut rdata = rdata.to_vec();
            for (index, octet) in changes {
                let at = index.index(rdata.len());
                rdata[at] = octet;
            }
            prop_assert_eq!(emitted(rtype, &rdata), rdata, "type {}", rtype);
        }

        #[test]
        fn octets_that_are_no_message_are_told_apart(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            decode(&octets);
        }
    }
}
