//! What orders ask the edges for, and what they hear from them.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::act::acme as ca;
use crate::keeper::Keeper;
use crate::observe::outside::elsewhere as names;
use crate::observe::proofs as texts;

/// What waits for the CA, a nameserver or the resolver.
const ORDERS: usize = 256;

/// Orders to the edges.
#[derive(Debug)]
pub struct OrderOrders {
    /// To the CA and the folders.
    pub ca: mpsc::Receiver<ca::Order>,
    /// To nameservers.
    pub texts: mpsc::Receiver<texts::Order>,
    /// To the resolver.
    pub elsewhere: mpsc::Receiver<names::Order>,
    /// To the CA, of what it says of itself.
    pub directories: mpsc::Receiver<Arc<ca::Settings>>,
}

/// What the edges tell.
#[derive(Debug)]
pub enum OrderNews {
    /// Of the CA and the folders.
    Ca(ca::News),
    /// Of nameservers.
    Texts(texts::News),
    /// Of the resolver.
    Elsewhere(names::News),
    /// Of what the CA says of itself.
    Directory(ca::directory::News),
}

impl Keeper {
    /// Where orders to the edges come out from now on.
    pub fn order_orders(&mut self) -> OrderOrders {
        let ((to_ca, ca), (to_servers, texts)) = (mpsc::channel(ORDERS), mpsc::channel(ORDERS));
        let ((to_resolver, elsewhere), (to_ask, directories)) = (mpsc::channel(ORDERS), mpsc::channel(ORDERS));
        (self.orders.ca, self.orders.texts) = (Some(to_ca), Some(to_servers));
        (self.orders.elsewhere.resolver, self.orders.elsewhere.directories) = (Some(to_resolver), Some(to_ask));
        OrderOrders { ca, texts, elsewhere, directories }
    }
}
