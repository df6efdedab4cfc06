//! Looks at a mail domain: its MX and the keys that its mail is signed with.

use std::collections::BTreeMap;

use hickory_proto::rr::{RData, RecordType};

use super::resolver::{Resolver, name, rdata};
use crate::dns::Name;
use crate::dns::mailtext::txt_value;
use crate::outside::Lookup;
use crate::outside::domain::Seen;

/// Looks at a mail domain.
pub(super) async fn look(resolver: &Resolver, domain: &Name, selectors: &[Name]) -> Seen {
    let exchange = |data: &RData| match data {
        RData::MX(mx) => Some((mx.preference, name(&mx.exchange)?)),
        _ => None,
    };
    let mx = resolver.lookup(domain, RecordType::MX, exchange).await;
    let mut dkim = BTreeMap::new();
    for selector in selectors {
        dkim.insert(selector.clone(), texts(resolver, selector).await);
    }
    Seen { mx, dkim }
}

/// The TXT of a name, the strings of each joined.
async fn texts(resolver: &Resolver, owner: &Name) -> Lookup<Vec<u8>> {
    resolver.lookup(owner, RecordType::TXT, |data| rdata(data).map(|rdata| txt_value(&rdata))).await
}
