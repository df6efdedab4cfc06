//! What a request does to a zone, rule by rule.

use proptest::prelude::*;

use super::super::grant::{Grant, Pattern};
use super::*;
use crate::zone::{NoIncludes, parse};

const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\n NS ns2\n MX 10 Mail\nns A 192.0.2.1\nns2 A 192.0.2.2\n\
    mail A 192.0.2.25\nmail A 192.0.2.26\nwww CNAME mail\nx.deep TXT x\nns.cut A 192.0.2.3\ncut NS ns.cut\n\
    cut DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\ndn DNAME other.test.\n*.wild TXT w\n";

fn name(text: &str) -> Name {
    Name::parse(text, Some(&"example.".parse().unwrap())).unwrap()
}

fn zone() -> Contents {
    parse(&"example.".parse().unwrap(), "zone", TEXT.as_bytes(), &mut NoIncludes).contents.unwrap()
}

fn add(owner: &str, ttl: u32, rtype: Rtype, rdata: &[u8]) -> Change {
    Change::Add(Record { owner: name(owner), ttl, rtype, rdata: rdata.into() })
}

fn delete(owner: &str, rtype: Rtype, rdata: &[u8]) -> Change {
    Change::Delete(name(owner), rtype, rdata.into())
}

fn delete_rrset(owner: &str, rtype: Rtype) -> Change {
    Change::DeleteRrset(name(owner), rtype)
}

fn delete_name(owner: &str) -> Change {
    Change::DeleteName(name(owner))
}

fn target(text: &str) -> Vec<u8> {
    name(text).as_wire().to_vec()
}

/// What changes, written short: owner, type, TTL, RDATAs in hexadecimal.
fn shown(result: &[(Name, RRset)]) -> Vec<String> {
    let hex =
        |rrset: &RRset| rrset.rdatas.iter().map(|rdata| data_encoding::HEXLOWER.encode(rdata)).collect::<Vec<_>>();
    let show = |(owner, rrset): &(Name, RRset)| match rrset.rdatas.is_empty() {
        true => format!("{owner} {} gone", rrset.rtype),
        false => format!("{owner} {} {} {}", rrset.rtype, rrset.ttl, hex(rrset).join(" ")),
    };
    result.iter().map(show).collect()
}

fn decide_with(grant: &Grant, prerequisites: Vec<Prerequisite>, updates: Vec<Change>) -> Result<Vec<String>, Rcode> {
    let request = Request { zone: name("@"), prerequisites, updates };
    let is_synthesised = |owner: &Name, _| *owner == name("_25._tcp.mail");
    decide(&request, &zone(), &[grant].into_iter().collect(), &is_synthesised).map(|result| shown(&result))
}

/// What anybody may do who may do everything.
fn done(updates: Vec<Change>) -> Result<Vec<String>, Rcode> {
    decide_with(&Grant::default(), Vec::new(), updates)
}

fn held(prerequisite: Prerequisite) -> Result<Vec<String>, Rcode> {
    decide_with(&Grant::default(), vec![prerequisite], Vec::new())
}

const NOTHING: Result<Vec<String>, Rcode> = Ok(Vec::new());

#[test]
fn names_are_in_use_where_they_have_records() {
    // RFC 2136 sections 3.2.1 and 3.2.2. An empty non-terminal has none; a wildcard is a name like others.
    for (owner, is_used) in [("mail", true), ("MAIL", true), ("deep", false), ("*.wild", true), ("x.wild", false)] {
        let (used, unused) = (held(Prerequisite::InUse(name(owner))), held(Prerequisite::NotInUse(name(owner))));
        assert_eq!(used, if is_used { NOTHING } else { Err(Rcode::NxDomain) }, "{owner}");
        assert_eq!(unused, if is_used { Err(Rcode::YxDomain) } else { NOTHING }, "{owner}");
    }
}

#[test]
fn rrsets_exist_or_not() {
    for (owner, rtype, is_there) in
        [("mail", Rtype::A, true), ("mail", Rtype::AAAA, false), ("www", Rtype::A, false), ("@", Rtype::SOA, true)]
    {
        let exists = held(Prerequisite::Exists(name(owner), rtype));
        assert_eq!(exists, if is_there { NOTHING } else { Err(Rcode::NxRrset) }, "{owner} {rtype}");
        let exists_not = held(Prerequisite::ExistsNot(name(owner), rtype));
        assert_eq!(exists_not, if is_there { Err(Rcode::YxRrset) } else { NOTHING }, "{owner} {rtype}");
    }
}

#[test]
fn rrsets_are_compared_whole_without_ttl_and_without_case() {
    // RFC 2136 section 3.2.3.
    let equals = |owner: &str, rtype: Rtype, rdatas: &[&[u8]]| {
        let rrset = RRset { rtype, ttl: 0, rdatas: rdatas.iter().map(|rdata| (*rdata).into()).collect() };
        held(Prerequisite::Equals(name(owner), rrset))
    };
    let (one, other): (&[u8], &[u8]) = (&[192, 0, 2, 25], &[192, 0, 2, 26]);
    assert_eq!(equals("mail", Rtype::A, &[one, other]), NOTHING);
    assert_eq!(equals("mail", Rtype::A, &[one]), Err(Rcode::NxRrset));
    assert_eq!(equals("mail", Rtype::A, &[one, other, &[192, 0, 2, 27]]), Err(Rcode::NxRrset));
    assert_eq!(equals("mail", Rtype::A, &[one, &[192, 0, 2, 27]]), Err(Rcode::NxRrset));
    assert_eq!(equals("nowhere", Rtype::A, &[one]), Err(Rcode::NxRrset));
    assert_eq!(equals("@", Rtype::MX, &[b"\0\x0a\x04mAIL\x07example\0"]), NOTHING);
}

#[test]
fn nothing_is_done_where_a_prerequisite_fails_and_they_see_the_zone_as_it_was() {
    let updates = || vec![add("new", 60, Rtype::TXT, b"\x01a")];
    let failing = vec![Prerequisite::Exists(name("new"), Rtype::TXT)];
    assert_eq!(decide_with(&Grant::default(), failing, updates()), Err(Rcode::NxRrset));
    let holding = vec![Prerequisite::NotInUse(name("new"))];
    assert_eq!(decide_with(&Grant::default(), holding, updates()), Ok(vec!["new.example. TXT 60 0161".to_owned()]));
}

#[test]
fn records_are_added_and_the_newest_ttl_is_that_of_all() {
    // RFC 2136 section 3.4.2.2, RFC 2181 section 5.2.
    assert_eq!(done(vec![add("mail", 300, Rtype::A, &[192, 0, 2, 25])]), NOTHING, "a duplicate");
    assert_eq!(
        done(vec![add("mail", 60, Rtype::A, &[192, 0, 2, 25])]),
        Ok(vec!["mail.example. A 60 c0000219 c000021a".to_owned()])
    );
    assert_eq!(
        done(vec![add("mail", 60, Rtype::A, &[192, 0, 2, 1]), add("mail", 90, Rtype::A, &[192, 0, 2, 2])]),
        Ok(vec!["mail.example. A 90 c0000201 c0000202 c0000219 c000021a".to_owned()])
    );
    assert_eq!(done(vec![add("@", 300, Rtype::MX, b"\0\x0a\x04mail\x07example\0")]), NOTHING, "in another case");
}

#[test]
fn a_cname_stands_alone() {
    // RFC 2136 section 3.4.2.2: what would break this is passed over, and the rest of the request is done.
    let beside = add("www", 60, Rtype::TXT, b"\x01a");
    let elsewhere = add("new", 60, Rtype::TXT, b"\x01a");
    assert_eq!(done(vec![beside, elsewhere]), Ok(vec!["new.example. TXT 60 0161".to_owned()]));
    assert_eq!(done(vec![add("mail", 60, Rtype::CNAME, &target("www"))]), NOTHING);
    assert_eq!(done(vec![add("@", 60, Rtype::CNAME, &target("www"))]), NOTHING);
    assert_eq!(
        done(vec![add("www", 60, Rtype::CNAME, b"\0")]),
        Ok(vec!["www.example. CNAME 60 00".to_owned()]),
        "the newest one is the one"
    );
    // What an earlier change of the request took away is in nothing's way.
    assert_eq!(
        done(vec![delete_rrset("www", Rtype::CNAME), add("www", 60, Rtype::TXT, b"\x01a")]),
        Ok(vec!["www.example. CNAME gone".to_owned(), "www.example. TXT 60 0161".to_owned()])
    );
    assert_eq!(
        done(vec![delete_name("mail"), add("mail", 60, Rtype::CNAME, b"\0")]),
        Ok(vec!["mail.example. A gone".to_owned(), "mail.example. CNAME 60 00".to_owned()])
    );
}

#[test]
fn a_dname_takes_the_others_place_and_hides_what_is_below() {
    // RFC 6672 section 5.2.
    assert_eq!(done(vec![add("dn", 60, Rtype::DNAME, b"\0")]), Ok(vec!["dn.example. DNAME 60 00".to_owned()]));
    assert_eq!(done(vec![add("www", 60, Rtype::DNAME, b"\0")]), NOTHING, "beside a CNAME");
    assert_eq!(done(vec![add("dn", 60, Rtype::CNAME, b"\0")]), NOTHING);
    assert_eq!(done(vec![add("deep", 60, Rtype::DNAME, b"\0")]), Ok(vec!["deep.example. DNAME 60 00".to_owned()]));
    assert_eq!(done(vec![add("x.dn", 60, Rtype::TXT, b"\x01a")]), Ok(vec!["x.dn.example. TXT 60 0161".to_owned()]));
}

#[test]
fn what_can_not_be_where_it_would_come_is_passed_over() {
    assert_eq!(done(vec![add("mail", 60, Rtype::SOA, &[0; 22])]), NOTHING, "RFC 2136 section 3.4.2.2: no second SOA");
    assert_eq!(done(vec![add("@", 60, Rtype::DS, &[0, 1, 13, 2, 9])]), NOTHING, "RFC 4035 section 2.4");
    assert_eq!(done(vec![add("*.wild", 60, Rtype::NS, b"\0")]), NOTHING, "RFC 4592 section 4.2");
    assert_eq!(done(vec![add("*.wild", 60, Rtype::DNAME, b"\0")]), NOTHING, "RFC 4592 section 4.4");
    assert_eq!(done(vec![add("mail", 60, MD, b"\0"), add("mail", 60, MF, b"\0")]), NOTHING, "RFC 1123 section 6.1.2");
    assert_eq!(done(vec![add("mail", 60, NULL, b"x")]), NOTHING, "RFC 1035 section 3.3.10");
}

#[test]
fn records_rrsets_and_names_are_deleted() {
    // RFC 2136 sections 3.4.2.3 and 3.4.2.4.
    assert_eq!(
        done(vec![delete("mail", Rtype::A, &[192, 0, 2, 25])]),
        Ok(vec!["mail.example. A 300 c000021a".to_owned()])
    );
    let both = vec![delete("mail", Rtype::A, &[192, 0, 2, 25]), delete("mail", Rtype::A, &[192, 0, 2, 26])];
    assert_eq!(done(both), Ok(vec!["mail.example. A gone".to_owned()]));
    assert_eq!(
        done(vec![delete("@", Rtype::MX, b"\0\x0a\x04MAIL\x07example\0")]),
        Ok(vec!["example. MX gone".to_owned()])
    );
    assert_eq!(done(vec![delete_rrset("mail", Rtype::A)]), Ok(vec!["mail.example. A gone".to_owned()]));
    assert_eq!(done(vec![delete_name("WWW")]), Ok(vec!["WWW.example. CNAME gone".to_owned()]));
    let nothing = [delete("mail", Rtype::A, &[9; 4]), delete_rrset("mail", Rtype::TXT), delete_name("deep")];
    assert_eq!(done(nothing.to_vec()), NOTHING);
}

#[test]
fn the_apex_keeps_its_soa_and_ns() {
    // RFC 2136 section 3.4.2.3 keeps them where all of a name goes.
    assert_eq!(done(vec![delete_name("@")]), Ok(vec!["example. MX gone".to_owned()]));
    // Nobody changes them: they are the zone file's.
    for change in [
        delete_rrset("@", Rtype::NS),
        delete_rrset("@", Rtype::SOA),
        delete("@", Rtype::NS, &target("ns2")),
        add("@", 300, Rtype::NS, &target("ns")),
        add("@", 300, Rtype::SOA, &[0; 22]),
    ] {
        assert_eq!(done(vec![change.clone()]), Err(Rcode::Refused), "{change:?}");
    }
    let below = done(vec![add("new", 60, Rtype::NS, b"\0")]);
    assert_eq!(below, Ok(vec!["new.example. NS 60 00".to_owned()]), "those of a delegation are anybody's who may");
}

#[test]
fn ds_records_come_and_go_with_the_delegation() {
    // RFC 4035 section 2.4.
    let gone = ["cut.example. NS gone".to_owned(), "cut.example. DS gone".to_owned()];
    assert_eq!(done(vec![delete_rrset("cut", Rtype::NS)]), Ok(gone.to_vec()));
    let only_ns = Grant { names: None, types: Some(vec![Rtype::NS]) };
    assert_eq!(decide_with(&only_ns, Vec::new(), vec![delete_rrset("cut", Rtype::NS)]), Ok(gone.to_vec()));
    let again = vec![delete_rrset("cut", Rtype::NS), add("cut", 300, Rtype::NS, b"\0")];
    assert_eq!(done(again), Ok(vec!["cut.example. NS 300 00".to_owned()]));
    let ds = || add("new", 60, Rtype::DS, &[0, 1, 13, 2, 9]);
    assert_eq!(done(vec![ds()]), NOTHING);
    assert_eq!(done(vec![ds(), add("new", 60, Rtype::NS, b"\0")]).unwrap().len(), 2);
}

#[test]
fn what_is_synthesised_or_made_by_signing_is_refused_whoever_asks() {
    for rtype in [Rtype::DNSKEY, Rtype::CDS, Rtype::CDNSKEY, Rtype::RRSIG, Rtype::NSEC, Rtype::NSEC3, Rtype::NSEC3PARAM]
    {
        for change in [add("new", 60, rtype, &[0; 9]), delete_rrset("new", rtype), delete("@", rtype, &[0; 9])] {
            assert_eq!(done(vec![change.clone()]), Err(Rcode::Refused), "{change:?}");
        }
    }
    for change in [
        add("_25._tcp.mail", 60, Rtype::TLSA, &[3, 1, 1, 9]),
        add("_25._tcp.MAIL", 60, Rtype::CNAME, b"\0"),
        delete_rrset("_25._tcp.mail", Rtype::TLSA),
    ] {
        assert_eq!(done(vec![change.clone()]), Err(Rcode::Refused), "{change:?}");
    }
}

#[test]
fn what_is_not_granted_is_refused_with_all_the_rest() {
    let challenge = Grant {
        names: Some(vec![Pattern::Label(b"_acme-challenge"[..].into()), Pattern::Name(name("mail"))]),
        types: Some(vec![Rtype::TXT]),
    };
    let granted = || add("_acme-challenge.www", 60, Rtype::TXT, b"\x01a");
    let result = Ok(vec!["_acme-challenge.www.example. TXT 60 0161".to_owned()]);
    let with = |updates: Vec<Change>| decide_with(&challenge, Vec::new(), updates);
    assert_eq!(with(vec![granted()]), result);
    for other in [
        add("_acme-challenge.www", 60, Rtype::A, &[0; 4]),
        add("x", 60, Rtype::TXT, b"\x01a"),
        add("www", 60, Rtype::TXT, b"\x01a"),
        delete_rrset("x", Rtype::TXT),
        delete("mail", Rtype::A, &[192, 0, 2, 25]),
        delete_name("x"),
        delete_name("mail"),
    ] {
        assert_eq!(with(vec![granted(), other.clone()]), Err(Rcode::Refused), "{other:?}");
    }
    // Of all that goes, all is granted.
    assert_eq!(with(vec![granted(), delete_name("_acme-challenge.www")]), NOTHING);
    let nobody = Request { zone: name("@"), prerequisites: Vec::new(), updates: vec![granted()] };
    assert_eq!(decide(&nobody, &zone(), &Grants::default(), &|_, _| false), Err(Rcode::Refused));
}

#[test]
fn only_what_is_otherwise_in_the_end_is_told_in_canonical_order() {
    assert_eq!(done(vec![add("new", 60, Rtype::TXT, b"\x01a"), delete_name("new")]), NOTHING);
    assert_eq!(done(vec![delete_name("www"), add("www", 300, Rtype::CNAME, &target("mail"))]), NOTHING);
    let in_capitals = add("@", 300, Rtype::MX, b"\0\x0a\x04MAIL\x07example\0");
    assert_eq!(done(vec![delete_rrset("@", Rtype::MX), in_capitals]), NOTHING, "in another case");
    let order = ["z", "a.z", "b", "*", "B"].map(|owner| add(owner, 60, Rtype::TXT, b"\x01a"));
    let order = done([vec![add("b", 60, Rtype::A, &[0; 4])], order.to_vec()].concat()).unwrap();
    let owners: Vec<&str> = order.iter().map(|line| line.split(" 60").next().unwrap()).collect();
    assert_eq!(owners, ["*.example. TXT", "b.example. A", "b.example. TXT", "z.example. TXT", "a.z.example. TXT"]);
}

#[test]
fn an_rrset_that_no_message_carries_is_refused() {
    let txt = |number: u16| {
        let string = [&[250][..], &number.to_be_bytes(), &[b'x'; 248]].concat();
        add("big", 60, Rtype::TXT, &string)
    };
    assert!(done((0..200).map(txt).collect()).is_ok());
    assert_eq!(done((0..300).map(txt).collect()), Err(Rcode::Refused));
}

fn some_change() -> impl Strategy<Value = Change> {
    let owner =
        prop_oneof![Just("@"), Just("mail"), Just("www"), Just("cut"), Just("dn"), Just("x.deep"), Just("*.wild")];
    let rtype = prop_oneof![
        Just(Rtype::A),
        Just(Rtype::CNAME),
        Just(Rtype::DNAME),
        Just(Rtype::NS),
        Just(Rtype::DS),
        Just(Rtype::TXT)
    ];
    (owner, rtype, 0..4u8, 0..3u8).prop_map(|(owner, rtype, form, octet)| match form {
        0 => delete_name(owner),
        1 => delete_rrset(owner, rtype),
        2 => delete(owner, rtype, &[octet, 0]),
        _ => add(owner, 60 * u32::from(octet), rtype, &[octet, 0]),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_a_cname_stands_alone_and_the_apex_stays(changes in prop::collection::vec(some_change(), 0..12)) {
        let request = Request { zone: name("@"), prerequisites: Vec::new(), updates: changes };
        let mut contents = zone();
        let everything = Grant::default();
        let grants: Grants<'_> = [&everything].into_iter().collect();
        if let Ok(result) = decide(&request, &contents, &grants, &|_, _| false) {
            for (owner, rrset) in result {
                prop_assert!(contents.rrset(&owner, rrset.rtype).as_ref() != Some(&rrset));
                contents.replace(&owner, rrset);
            }
            for node in contents.nodes() {
                let cnames = node.set(Rtype::CNAME).map_or(0, |set| set.rdatas().count());
                prop_assert!(cnames == 0 || (cnames == 1 && node.sets().count() == 1), "{}", node.owner());
                prop_assert!(!node.has(Rtype::DS) || node.has(Rtype::NS), "{}", node.owner());
            }
            prop_assert_eq!(contents.rrset(&name("@"), Rtype::NS), zone().rrset(&name("@"), Rtype::NS));
            prop_assert_eq!(contents.soa(), zone().soa());
        }
    }
}
