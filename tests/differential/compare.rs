//! Asks danelaw and each peer the same questions, and compares the whole messages.

use danelaw::answer::{Context, MESSAGE_MAX, Transport, answer};
use danelaw::dns::{Name, Rtype};
use danelaw::zone::Snapshot;

use super::clients::{self, number};
use super::common::now;
use super::common::wire::{Ask, Response, decode, read};
use super::peers::Running;
use super::proof::is_proven;
use super::questions::Question;
use super::report::Report;
use super::rules::{Case, reconcile};
use super::sections::is;

/// How many octets more a peer may need for the same records: within them of a limit it may leave out additional records.
const ROOM: usize = 800;

/// Asks and compares.
pub fn compare(snapshot: &Snapshot, running: &[Running], questions: &[Question], report: &mut Report) {
    let over_tcp = |question: &Question| Question { ask: Ask { tcp: true, ..question.ask }, ..question.clone() };
    let whole: Vec<Question> = questions.iter().map(over_tcp).collect();
    let mine: Vec<Vec<u8>> = questions.iter().map(|question| ours(snapshot, question)).collect();
    let mine_whole: Vec<Vec<u8>> = whole.iter().map(|question| ours(snapshot, question)).collect();
    for ((question, short), long) in questions.iter().zip(&mine).zip(&mine_whole) {
        if let Err(broken) = fits(question, short, long).and_then(|()| denies(question, &decode(long))) {
            report.broken(question, broken);
        }
    }
    let theirs: Vec<Theirs> = std::thread::scope(|scope| {
        let (mine, whole) = (&mine, &mine_whole);
        let near = |place: usize| whole[place].len() + ROOM > questions[place].limit();
        let again = move |place: usize| is_truncated(&mine[place]) || near(place);
        let asking = running.iter().map(|server| scope.spawn(move || Theirs::ask(server, questions, again)));
        asking.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let zones: Vec<Name> = snapshot.zones().map(|zone| zone.origin().clone()).collect();
    for (server, theirs) in running.iter().zip(&theirs) {
        for (place, question) in questions.iter().enumerate() {
            if theirs.first[place].is_empty() {
                report.unanswered(server.peer, question);
                continue;
            }
            let ours = decode(&mine[place]);
            let Some(first) = read(&theirs.first[place]) else {
                report.unreadable(server.peer, question);
                continue;
            };
            report.measured(server.peer, &ours, &first);
            let Some(long) = &theirs.whole[place] else {
                judge(&Case { peer: server.peer, question, zones: &zones }, ours, first, report);
                continue;
            };
            let Some(long) = read(long) else {
                report.unreadable(server.peer, question);
                continue;
            };
            report.truncated(server.peer, ours.tc, first.tc);
            if !first.tc && !ours.tc && !is_shortened(&first, &long) {
                judge(&Case { peer: server.peer, question, zones: &zones }, ours, first, report);
            }
            let case = Case { peer: server.peer, question: &whole[place], zones: &zones };
            judge(&case, decode(&mine_whole[place]), long, report);
        }
    }
}

pub fn is_truncated(message: &[u8]) -> bool {
    message[2] & 2 != 0
}

/// Whether `short` is `long` without what need not be there: additional records (RFC 2181 section 9), and an answer's own NS. Knot leaves a
/// SOA out, too, where there is no room for it.
fn is_shortened(short: &Response, long: &Response) -> bool {
    let same = Response {
        authority: long.authority.clone(),
        additional: long.additional.clone(),
        length: long.length,
        doubled: long.doubled,
        ..short.clone()
    };
    let mut missing = long.authority.difference(&short.authority);
    same == *long
        && short.authority.is_subset(&long.authority)
        && missing.all(|record| !short.answer.is_empty() && (is(record, Rtype::NS) || is(record, Rtype::SOA)))
        && short.additional.is_subset(&long.additional)
}

fn judge(case: &Case<'_>, mut ours: Response, mut theirs: Response, report: &mut Report) {
    report.compared += 1;
    let used = reconcile(case, &mut ours, &mut theirs);
    used.into_iter().for_each(|rule| report.used(rule, case.peer));
    if ours != theirs {
        report.differs(case.peer, case.question, &ours, &theirs);
    }
}

/// danelaw's answer.
pub fn ours(snapshot: &Snapshot, question: &Question) -> Vec<u8> {
    let transport = if question.ask.tcp { Transport::Tcp } else { Transport::Udp };
    let context = Context::new([127, 0, 0, 1].into(), transport, now());
    let mut out = vec![0; MESSAGE_MAX];
    let len = answer(snapshot, &context, &question.query(), &mut out).expect("an answer to a query");
    out.truncate(len);
    out
}

/// What a peer answers: as it was asked, and over TCP where there was no room for all of it.
struct Theirs {
    first: Vec<Vec<u8>>,
    whole: Vec<Option<Vec<u8>>>,
}

impl Theirs {
    fn ask(server: &Running, questions: &[Question], may_lack: impl Fn(usize) -> bool) -> Theirs {
        let mut first = vec![Vec::new(); questions.len()];
        let (stream, datagrams): (Vec<usize>, Vec<usize>) =
            (0..questions.len()).partition(|&place| questions[place].ask.tcp);
        let ask = |places: &[usize], ask: fn(_, &[Vec<u8>]) -> Vec<Vec<u8>>| {
            let mut queries: Vec<Vec<u8>> = places.iter().map(|&place| questions[place].query()).collect();
            number(&mut queries);
            ask(server.address, &queries)
        };
        for (place, answer) in datagrams.iter().zip(ask(&datagrams, clients::udp)) {
            first[*place] = answer;
        }
        if datagrams.iter().any(|&place| first[place].is_empty()) {
            // What was truncated can't be asked for again.
            for (place, answer) in first.iter_mut().enumerate() {
                if may_lack(place) || answer.get(2).is_some_and(|flags| flags & 2 != 0) {
                    answer.clear();
                }
            }
            return Theirs { first, whole: vec![None; questions.len()] };
        }
        for (place, answer) in stream.iter().zip(ask(&stream, clients::tcp)) {
            first[*place] = answer;
        }
        let again = |place: &usize| is_truncated(&first[*place]) || may_lack(*place);
        let again: Vec<usize> = datagrams.into_iter().filter(again).collect();
        let mut whole = vec![None; questions.len()];
        for (place, answer) in again.iter().zip(ask(&again, clients::tcp)) {
            whole[*place] = Some(answer);
        }
        Theirs { first, whole }
    }
}

/// Where the records of a message end: the answer and authority section, and each record of the additional section.
pub fn ends(message: &[u8]) -> (usize, Vec<(usize, u16)>) {
    let u16_at = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let name_end = |mut at: usize| loop {
        match message[at] {
            0 => return at + 1,
            0xc0.. => return at + 2,
            length => at += 1 + usize::from(length),
        }
    };
    let mut at = if u16_at(4) == 1 { name_end(12) + 4 } else { 12 };
    let record = |at: &mut usize| {
        let head = name_end(*at);
        *at = head + 10 + usize::from(u16_at(head + 8));
        (*at, u16_at(head))
    };
    for _ in 0..u16_at(6) + u16_at(8) {
        record(&mut at);
    }
    (at, (0..u16_at(10)).map(|_| record(&mut at)).collect())
}

/// Where the OPT record begins, which is the last.
pub fn opt_at(message: &[u8]) -> Option<usize> {
    let (mut start, additional) = ends(message);
    for (end, rtype) in additional {
        if rtype == Rtype::OPT.0 {
            return Some(start);
        }
        start = end;
    }
    None
}

/// RFC 2181 section 9: TC says that what is required did not fit, and nothing else does. Required are answer and authority section whole,
/// and in a referral the glue at or below the cut (RFC 9471 section 3.1). RRsets are whole or not there (RFC 2181 section 5).
pub fn fits(question: &Question, short: &[u8], long: &[u8]) -> Result<(), String> {
    let (brief, full) = (decode(short), decode(long));
    if brief.length > question.limit() {
        return Err(format!("{} octets where {} are allowed", brief.length, question.limit()));
    }
    let same = (brief.rcode, brief.aa) == (full.rcode, full.aa);
    if full.tc || brief.edns != full.edns || !same && !brief.tc {
        return Err(format!("the header depends on the room: {brief:?}, {full:?}"));
    }
    let cut = full.authority.iter().find(|record| record.rtype == Rtype::NS.0);
    let is_glue =
        |owner: &str| cut.is_some_and(|cut| owner == cut.owner || owner.ends_with(&format!(".{}", cut.owner)));
    let glue = full.additional.iter().filter(|record| is_glue(&record.owner)).count();
    let (required, additional) = ends(long);
    let opt = opt_at(short).map_or(0, |at| short.len() - at);
    let required = if glue > 0 { additional[glue - 1].0 } else { required };
    if brief.tc != (required + opt > question.limit()) {
        return Err(format!("TC {} where {required} octets and OPT are required", brief.tc));
    }
    if !brief.tc && (brief.answer != full.answer || brief.authority != full.authority) {
        return Err("a message without TC that lacks something".to_owned());
    }
    let sections =
        [(&brief.answer, &full.answer), (&brief.authority, &full.authority), (&brief.additional, &full.additional)];
    for (part, all) in sections {
        let key = |record: &super::common::wire::Rr| (record.owner.clone(), record.rtype);
        let split =
            |one: &&super::common::wire::Rr| part.iter().any(|put| key(put) == key(one)) && !part.contains(*one);
        // An apex of ours below a cut of ours has two NSEC RRsets, one in each zone.
        let whole = |one: &&super::common::wire::Rr| ![Rtype::RRSIG.0, Rtype::NSEC.0].contains(&one.rtype);
        if let Some(one) = all.iter().filter(whole).find(split) {
            return Err(format!("a part of an RRset: without {one:?}"));
        }
        if !part.is_subset(all) {
            return Err("more over UDP than over TCP".to_owned());
        }
    }
    Ok(())
}

/// What is made from wildcards and what is denied in a signed zone is proven.
fn denies(question: &Question, full: &Response) -> Result<(), String> {
    let signed = full.authority.iter().any(|record| record.rtype == Rtype::RRSIG.0);
    let expanded = full.answer.iter().any(|record| record.rtype == Rtype::RRSIG.0);
    match (signed || expanded && question.rtype != Rtype::RRSIG) && !is_proven(full, question) {
        true => Err(format!("a validator would not believe it: {:?}", full.authority)),
        false => Ok(()),
    }
}
