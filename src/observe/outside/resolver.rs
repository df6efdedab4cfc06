//! A validating resolver: hickory's, which asks the configured one or the system's for what it needs, and trusts the root or the
//! configured anchors alone. What is asked is only the way: nothing is believed that does not validate, but that a chain ends above,
//! for which nothing is ever taken back.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::dnssec::{Algorithm, Proof, PublicKeyBuf, TrustAnchors};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::timeout;

use crate::config::Outside;
use crate::dns::header::AD;
use crate::dns::{Name, Question, Rdata, Rtype};
use crate::observe::nameservers::Asker;
use crate::outside::chain::called;
use crate::outside::{Failure, Fault, Lookup, Trust};

/// How long one question may take, with all that it takes to validate the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Answers that are kept while a subject is looked at: the keys on the way to it are asked for once.
const KEPT: u64 = 1024;
/// So many steps on a way with DNAMEs are followed.
const RENAMED_MAX: usize = 8;

/// A resolver for one look, which holds nothing of the looks before.
#[derive(Clone)]
pub(super) struct Resolver {
    inner: TokioResolver,
    /// Who is asked.
    servers: Vec<SocketAddr>,
    /// The same for people.
    through: String,
    anchors: Arc<BTreeSet<Name>>,
    /// Who is asked validates, too.
    validates: bool,
}

impl Resolver {
    /// For a look at a name. Whether anything there can be validated at all is asked first: the error says why not.
    pub(super) async fn new(outside: &Outside, name: &Name) -> Result<Resolver, Failure> {
        let down = |why: String| Failure { fault: Fault::ResolverDown, why };
        let through = match &outside.resolver[..] {
            [] => "the system's resolver".to_owned(),
            named => named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let anchors: BTreeSet<Name> = outside.anchors.iter().map(|(owner, _)| owner.clone()).collect();
        let (inner, servers) = build(outside).map_err(down)?;
        let mut resolver = Resolver { inner, servers, through, anchors: Arc::new(anchors), validates: false };
        let anchor = resolver.anchor(name);
        resolver.validates = resolver.says_authentic(&anchor).await;
        match resolver.records(&anchor, RecordType::SOA).await.0 {
            Trust::Secure => Ok(resolver),
            Trust::Unknown(why) => Err(down(format!("{why} (asked {})", resolver.through))),
            Trust::Insecure | Trust::Bogus => Err(Failure {
                fault: Fault::NothingValidates,
                why: format!(
                    "nothing that comes from {} validates, not even {} (does it pass DNSSEC's records on, and is this machine's clock \
                     right?)",
                    resolver.through,
                    called(&anchor)
                ),
            }),
        }
    }

    /// Who is asked, for people.
    pub(super) fn through(&self) -> &str {
        &self.through
    }

    /// The nearest zone at or above whose keys are trusted as such.
    pub(super) fn anchor(&self, zone: &Name) -> Name {
        let mut above = std::iter::once(zone.clone()).chain(zone.ancestors());
        above.find(|name| self.anchors.contains(name)).unwrap_or_else(Name::root)
    }

    /// The addresses of a host.
    pub(super) async fn addresses(&self, host: &Name) -> Lookup<IpAddr> {
        self.all_addresses(host).await.0
    }

    /// The same, and why they may not be all.
    pub(super) async fn all_addresses(&self, host: &Name) -> (Lookup<IpAddr>, Option<String>) {
        let of = |data: &RData| data.ip_addr();
        let (v4, v6) = tokio::join!(self.lookup(host, RecordType::A, of), self.lookup(host, RecordType::AAAA, of));
        // What is missing of the one says nothing against the other.
        let (trust, missing) = match (v4.found.is_empty(), v6.found.is_empty()) {
            (false, true) => (v4.trust.clone(), v6.unknown().map(|why| format!("AAAA: {why}"))),
            (true, false) => (v6.trust.clone(), v4.unknown().map(|why| format!("A: {why}"))),
            _ => (worse(v4.trust.clone(), v6.trust.clone()), None),
        };
        let found = v4.found.into_iter().chain(v6.found).collect();
        (Lookup { trust, found, alias: v4.alias.or(v6.alias), ttl: v4.ttl.max(v6.ttl) }, missing)
    }

    /// The RDATA of a name and type; aliases are followed.
    pub(super) async fn rdata(&self, owner: &Name, rtype: Rtype) -> Lookup<Rdata> {
        self.lookup(owner, RecordType::from(rtype.0), rdata).await
    }

    /// What is to be had of records of a name and type; aliases are followed.
    pub(super) async fn lookup<T>(
        &self,
        owner: &Name,
        rtype: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Lookup<T> {
        let (trust, records) = self.records(owner, rtype).await;
        let ttl = records.iter().map(|record| record.ttl).max().unwrap_or(0);
        let mut aliases = records.iter().rev().filter_map(|record| match &record.data {
            RData::CNAME(target) => name(&target.0),
            _ => None,
        });
        let is_it = |record: &&Record| record.record_type() == rtype;
        let found = records.iter().filter(is_it).filter_map(|record| of(&record.data)).collect();
        Lookup { trust, found, alias: aliases.next().filter(|_| rtype != RecordType::CNAME), ttl }
    }

    /// The records of a name and type, with the aliases on the way to them, and how far all of it is trusted; without records, how far
    /// it is that there are none.
    async fn records(&self, owner: &Name, rtype: RecordType) -> (Trust, Vec<Record>) {
        let (mut at, mut trusted, mut way) = (owner.clone(), Trust::Secure, Vec::new());
        for _ in 0..RENAMED_MAX {
            let (found, records) = match self.validated(&at, rtype).await {
                Some(found) => found,
                None => match self.renamed(&at, rtype).await {
                    Some((trust, alias, target)) => {
                        (at, trusted) = (target, worse(trusted, trust));
                        way.push(alias);
                        continue;
                    }
                    None => self.doubted(&at, rtype).await.map_or((Trust::Bogus, Vec::new()), |answers| {
                        (Trust::Insecure, on_the_way(&answers, &at, rtype))
                    }),
                },
            };
            way.extend(records);
            return (worse(trusted, found), way);
        }
        (Trust::Unknown(format!("it is an alias of more than {RENAMED_MAX} others")), Vec::new())
    }

    /// The same as hickory has it; none where it takes that for bogus.
    ///
    /// hickory 0.26.3 takes a chain for ended on less than a proof: it believes an unsigned CNAME in the place of a DNSKEY, an NSEC of a
    /// zone that does not enclose the name, and an NSEC3 of the grandparent's. So nothing may be taken back for `Insecure`.
    async fn validated(&self, owner: &Name, rtype: RecordType) -> Option<(Trust, Vec<Record>)> {
        let asked = match hickory(owner) {
            Ok(name) => name,
            Err(why) => return Some((Trust::Unknown(why), Vec::new())),
        };
        let found = match timeout(LIMIT, self.inner.lookup(asked, rtype)).await {
            Ok(found) => found,
            Err(_) => return Some((Trust::Unknown("no answer in time".to_owned()), Vec::new())),
        };
        Some(match found {
            Ok(found) => {
                let records = on_the_way(found.answers(), owner, rtype);
                // hickory takes the SOA of the zone above for an answer where there is none at the name itself.
                if records.is_empty() {
                    return Some((of_nothing(&found.message().authorities), records));
                }
                let proofs = records.iter().map(|record| record.proof);
                (proofs.min().map_or_else(unproven, trust), records)
            }
            Err(NetError::Dns(DnsError::DnssecBogus)) => return None,
            Err(NetError::Dns(DnsError::Nsec { proof, .. })) => (trust(proof), Vec::new()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                (of_nothing(none.authorities.as_deref().unwrap_or_default()), Vec::new())
            }
            Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail))) => {
                (self.failed(owner, Rtype(rtype.into())).await, Vec::new())
            }
            Err(error) => (Trust::Unknown(error.to_string()), Vec::new()),
        })
    }

    /// hickory 0.26.3 does not know DNAME: the CNAME that one makes has no signature (RFC 6672 section 5.3.1), so it takes it for bogus.
    /// Where the next step on such a way leads, by what is signed alone: how far that is trusted, and as an alias.
    async fn renamed(&self, owner: &Name, rtype: RecordType) -> Option<(Trust, Record, Name)> {
        let mut asker = Asker::new(*self.servers.first()?, LIMIT / 2).of_resolver(true);
        let message = asker.said(&Question::new(owner, Rtype(rtype.into()))).await.ok()?;
        let answers = Message::from_vec(&message).ok()?.answers;
        let dnames = answers.iter().filter(|record| record.record_type() == RecordType::DNAME);
        let dnames: Vec<Name> = dnames.filter_map(|record| name(&record.name)).collect();
        let above = dnames.iter().find(|dname| owner.is_below(dname));
        let (from, kind) = match above {
            Some(dname) => (dname, RecordType::DNAME),
            None if dnames.is_empty() => return None,
            None => (owner, RecordType::CNAME),
        };
        let (trust, records) = self.validated(from, kind).await?;
        let record = records.iter().find(|record| record.record_type() == kind)?;
        let target = moved(owner, from, &Name::from_wire(&rdata(&record.data)?).ok()?)?;
        let data = RData::CNAME(CNAME(hickory(&target).ok()?));
        Some((trust, Record::from_rdata(hickory(owner).ok()?, record.ttl, data), target))
    }

    /// Whether who is asked says of the SOA of an anchor that it validates.
    async fn says_authentic(&self, anchor: &Name) -> bool {
        let Some(server) = self.servers.first() else { return false };
        let mut asker = Asker::new(*server, LIMIT / 2).with_dnssec().of_resolver(false);
        asker.said(&Question::new(anchor, Rtype::SOA)).await.is_ok_and(|message| message[3] & AD != 0)
    }

    /// hickory 0.26.3 takes a signed zone with a DS in an unsigned one for bogus. A resolver that validates and has an answer all the same
    /// takes it for insecure; its answer.
    async fn doubted(&self, owner: &Name, rtype: RecordType) -> Option<Vec<Record>> {
        let server = self.servers.first().filter(|_| self.validates)?;
        let mut asker = Asker::new(*server, LIMIT / 2).of_resolver(false);
        let message = asker.said(&Question::new(owner, Rtype(rtype.into()))).await.ok()?;
        Message::from_vec(&message).ok().map(|message| message.answers)
    }

    /// What SERVFAIL means: whoever has an answer when told not to validate takes it for bogus (RFC 4035 section 3.2.2).
    async fn failed(&self, owner: &Name, rtype: Rtype) -> Trust {
        let Some(server) = self.servers.first() else { return unproven() };
        let asked = Asker::new(*server, LIMIT / 2).of_resolver(true).said(&Question::new(owner, rtype)).await;
        match asked {
            Ok(_) => Trust::Bogus,
            Err(_) => {
                Trust::Unknown("the resolver answers SERVFAIL: it reaches no nameserver that has an answer".to_owned())
            }
        }
    }
}

/// What is asked for, and the aliases that lead there from a name: what else stands in an answer is nobody's word on it.
fn on_the_way(answers: &[Record], owner: &Name, rtype: RecordType) -> Vec<Record> {
    let (mut at, mut way) = (owner.clone(), Vec::new());
    for _ in 0..=answers.len() {
        let here = || answers.iter().filter(|record| name(&record.name).is_some_and(|owner| owner == at));
        way.extend(here().filter(|record| record.record_type() == rtype).cloned());
        let alias = here().find(|record| record.record_type() == RecordType::CNAME && rtype != RecordType::CNAME);
        let target = alias.and_then(|record| match &record.data {
            RData::CNAME(target) => Some((record, name(&target.0)?)),
            _ => None,
        });
        let Some((alias, target)) = target else { break };
        way.push(alias.clone());
        at = target;
    }
    way
}

/// A name below another one, or that one, in its new place (RFC 6672 section 2.2); none where it gets too long.
fn moved(name: &Name, from: &Name, to: &Name) -> Option<Name> {
    let before = name.label_count().checked_sub(from.label_count())?;
    let labels: Vec<&[u8]> = name.labels().take(before).collect();
    labels.into_iter().rev().try_fold(to.clone(), |name, label| name.prepend(label)).ok()
}

/// How far it is trusted that there is nothing, by what stands in the authority section.
fn of_nothing(authorities: &[Record]) -> Trust {
    // Of several signatures hickory marks the one that it has used.
    let authorities = authorities.iter().filter(|record| record.record_type() != RecordType::RRSIG);
    authorities.map(|record| record.proof).min().map_or_else(unproven, trust)
}

/// The one that says less.
fn worse(one: Trust, other: Trust) -> Trust {
    let rank = |trust: &Trust| match trust {
        Trust::Secure => 0,
        Trust::Insecure => 1,
        Trust::Unknown(_) => 2,
        Trust::Bogus => 3,
    };
    if rank(&one) >= rank(&other) { one } else { other }
}

fn build(outside: &Outside) -> Result<(TokioResolver, Vec<SocketAddr>), String> {
    let said = |error: NetError| error.to_string();
    let (config, mut options) = if outside.resolver.is_empty() {
        read_system_conf().map_err(|error| format!("/etc/resolv.conf: {error}"))?
    } else {
        let servers = outside.resolver.iter().map(|address| {
            let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = address.port());
            NameServerConfig::new(address.ip(), true, connections.into())
        });
        (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), ResolverOpts::default())
    };
    let port = |server: &NameServerConfig| server.connections.first().map_or(53, |connection| connection.port);
    let servers = config.name_servers().iter().map(|server| SocketAddr::new(server.ip, port(server))).collect();
    options.cache_size = KEPT;
    options.use_hosts_file = ResolveHosts::Never;
    options.validate = true;
    options.timeout = LIMIT / 2;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    if !outside.anchors.is_empty() {
        builder = builder.with_trust_anchor(Arc::new(trusted(outside)?));
    }
    Ok((builder.build().map_err(said)?, servers))
}

/// Only what is configured is trusted: an island's keys say nothing of the root's.
fn trusted(outside: &Outside) -> Result<TrustAnchors, String> {
    let mut anchors = TrustAnchors::empty();
    for (owner, dnskey) in &outside.anchors {
        let Some((&[_, _, _, algorithm], key)) = dnskey.split_first_chunk::<4>() else { continue };
        let key = PublicKeyBuf::new(key.to_vec(), Algorithm::from_u8(algorithm));
        anchors.insert_with_name(&key, hickory(owner)?.into());
    }
    Ok(anchors)
}

fn hickory(name: &Name) -> Result<HickoryName, String> {
    let labels = name.labels();
    HickoryName::from_labels(labels).map_err(|error| format!("{name}: {error}"))
}

/// Nothing came, and no proof that there is nothing.
fn unproven() -> Trust {
    Trust::Unknown("the resolver gives neither records nor a proof that there are none".to_owned())
}

fn trust(proof: Proof) -> Trust {
    match proof {
        Proof::Secure => Trust::Secure,
        Proof::Insecure => Trust::Insecure,
        Proof::Bogus => Trust::Bogus,
        Proof::Indeterminate => Trust::Unknown("the resolver does not give what it takes to validate".to_owned()),
    }
}

/// A name as it is here.
pub(super) fn name(name: &HickoryName) -> Option<Name> {
    let wire: Vec<u8> = name
        .iter()
        .flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied()))
        .chain([0])
        .collect();
    Name::from_wire(&wire).ok()
}

/// RDATA in wire form.
pub(super) fn rdata(data: &RData) -> Option<Rdata> {
    data.to_bytes().ok().map(Rdata::from)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::MX;

    use super::*;

    #[test]
    fn what_is_not_on_the_way_from_the_question_is_no_answer() {
        let owner = |text: &str| hickory(&text.parse().expect(text)).expect(text);
        let alias = |from: &str, to: &str| Record::from_rdata(owner(from), 60, RData::CNAME(CNAME(owner(to))));
        let mx = |of: &str, host: &str| Record::from_rdata(owner(of), 60, RData::MX(MX::new(10, owner(host))));
        let asked: Name = "customer.example".parse().expect("a name");
        let hosts = |answers: &[Record]| -> Vec<String> {
            let way = on_the_way(answers, &asked, RecordType::MX);
            let hosts = way.iter().filter_map(|record| match &record.data {
                RData::MX(mx) => Some(mx.exchange.to_string()),
                _ => None,
            });
            hosts.collect()
        };
        assert_eq!(hosts(&[mx("Customer.Example", "a.test")]), ["a.test."]);
        assert_eq!(hosts(&[mx("evil.test", "mail.evil.test")]), [""; 0]);
        let led = [alias("b.test", "c.test"), mx("c.test", "a.test"), alias("customer.example", "b.test")];
        assert_eq!(hosts(&led), ["a.test."]);
        assert_eq!(hosts(&[alias("else.test", "evil.test"), mx("evil.test", "mail.evil.test")]), [""; 0]);
        let circle = [alias("customer.example", "b.test"), alias("b.test", "customer.example")];
        assert_eq!(hosts(&circle), [""; 0]);
    }

    #[test]
    fn what_is_below_a_dname_keeps_its_labels_in_the_new_place() {
        let of = |text: &str, from: &str, to: &str| {
            let [name, from, to] = [text, from, to].map(|text| text.parse::<Name>().expect(text));
            moved(&name, &from, &to).map(|name| name.to_string())
        };
        assert_eq!(of("a.b.old.test", "old.test", "new.example").as_deref(), Some("a.b.new.example."));
        assert_eq!(of("a.old.test", "old.test", ".").as_deref(), Some("a."));
        assert_eq!(of("old.test", "old.test", "new.example").as_deref(), Some("new.example."));
        let long = [&*"l".repeat(63); 3].join(".");
        assert_eq!(of(&format!("{long}.test"), "test", &format!("{}.test", "n".repeat(63))), None);
    }
}
