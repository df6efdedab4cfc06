//! Decisions become changes of the world. Each may be repeated after a crash, so each is idempotent.

pub mod acme;
pub mod example;
pub mod hook;
pub mod install;
pub mod keys;
pub mod mail;
pub mod messages;
pub mod notify;
pub mod resolve;
pub mod transfer;
pub mod webhook;
