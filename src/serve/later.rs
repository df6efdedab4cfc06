//! Responses that wait for somebody else: a dynamic update is answered when it is on the disk and served. Who answers queries waits for none.

/// A response that will come.
pub struct Later(Box<dyn FnOnce(Respond) + Send>);

/// Carries a response to who asked. It may come at any time and on any thread, or be dropped where there will be none.
pub type Respond = Box<dyn FnOnce(&[u8]) + Send>;

impl Later {
    /// What asks for the response: it is told where that has to go.
    pub fn new(ask: impl FnOnce(Respond) + Send + 'static) -> Later {
        Later(Box::new(ask))
    }

    /// Asks for the response, to be carried by `respond`.
    pub(super) fn by(self, respond: impl FnOnce(&[u8]) + Send + 'static) {
        (self.0)(Box::new(respond));
    }
}
