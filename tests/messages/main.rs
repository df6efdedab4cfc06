//! What is promised of messages to the operator: each arrives, once when nothing is killed at the worst moment, over TLS that is
//! verified, whatever fails meanwhile; and no secret is in the log or in `status`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;

mod authority;
mod http;
mod mail;
mod operator;
mod smtp;
mod webhook;

/// A configuration with `[messages]`. Its certificates are observed, so that TLSA is published at once: no mail server is there to
/// be asked what it presents.
fn config(messages: &str) -> String {
    format!("{}mode = \"observed\"\n\n[messages]\n{messages}\n", house::CONFIG)
}
