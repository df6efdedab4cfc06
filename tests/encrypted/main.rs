//! What is promised over TLS, HTTPS and QUIC: the same answers as over UDP and TCP, to other people's clients too, whoever
//! else is connected and does nothing, and with the certificate of the moment.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod daemon;
mod equality;
mod http;
mod laboratory;
mod limits;
mod programs;
mod quic;
mod swap;
