//! Queries with random octets changed: what hickory can read is answered as `answer` says, and nothing panics.

use std::sync::{Arc, Mutex, OnceLock};

use danelaw::answer::Transport;
use danelaw::plugin::{DaneHandler, DaneZone};
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::rr::{Name, Record};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{LookupOptions, MessageResponse, ZoneHandler};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::client::{Opt, parse, query};
use crate::handler::{directly, questions};
use crate::{Served, zone};

/// Keeps what would be sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u8>>>);

#[async_trait::async_trait]
impl ResponseHandler for Sent {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut octets = Vec::new();
        let info = response.destructive_emit(&mut BinEncoder::new(&mut octets))?;
        *self.0.lock().unwrap() = octets;
        Ok(info)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_garbled_query_is_answered_as_danelaw_itself_would(
        question in 0..questions().len(),
        opt in prop::option::of((any::<u16>(), any::<bool>(), prop_oneof![4 => Just(0u8), 1 => any::<u8>()])),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        static SERVED: OnceLock<(Served, Runtime)> = OnceLock::new();
        let (served, runtime) = SERVED.get_or_init(|| (Served::by_handler(), Runtime::new().unwrap()));
        let (owner, rtype) = questions()[question];
        let opt = opt.map(|(payload, dnssec_ok, version)| Opt { payload, dnssec_ok, version });
        let mut query = query(&zone::wire(owner), rtype, opt);
        for (index, octet) in changes {
            let at = index.index(query.len());
            query[at] = octet;
        }
        // A response is dropped by hickory and by danelaw; what hickory can't read never reaches a handler.
        query[2] &= 0x7f;
        let peer = "127.0.0.1:9".parse().unwrap();
        if let Ok(request) = Request::from_bytes(query.clone(), peer, Protocol::Tcp) {
            let sent = Sent::default();
            runtime.block_on(DaneHandler::new(served.snapshot.clone()).handle_request::<_, TokioTime>(&request, sent.clone()));
            let octets = sent.0.lock().unwrap().clone();
            prop_assert_eq!(parse(&octets), parse(&directly(&served.snapshot, Transport::Tcp, &query)), "{:?}", query);
            let handler = DaneZone::new(Name::from_ascii(zone::APEX).unwrap().into(), served.snapshot.clone());
            runtime.block_on(handler.search(&request, LookupOptions::default()));
        }
    }
}
