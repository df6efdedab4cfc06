//! danelaw: an authoritative DNS server that signs its zones and keeps TLSA records true to the mail server's certificate.
//!
//! # The rooms, and who may name whom
//!
//! | room | | names |
//! |---|---|---|
//! | [`dns`] | pure | nobody |
//! | [`zone`], [`dane`], [`keys`] | pure | `dns` |
//! | [`answer`], [`transfer`], [`update`] | pure | `dns`, `zone` |
//! | [`outside`] | pure | `dns`, `zone`, `dane`: what others see, judged |
//! | [`acme`] | pure | `dns`, `dane`: when a certificate is ordered, and how an order goes on |
//! | [`tell`] | pure | `dns`: notices become messages to the operator |
//! | `config` | pure | `dns`, `dane`, `zone`, `keys`, `answer`, `update`, `outside`, `acme`, `tell`: text becomes a checked value, once |
//! | `observe`, `act`, `serve` | I/O | the pure rooms, never each other |
//! | `store` | I/O | the pure rooms |
//! | `keeper` | I/O | all of them: fact, decision, journal, action, publication |
//! | `crash` | I/O | nobody; every I/O room names it: where tests kill the process |
//! | `plugin` | | the pure rooms |
//! | `cli` | I/O | all |
//!
//! `tests/house` holds these arrows.
//!
//! # The laws
//!
//! 1. **Safety.** Every TLSA RRset that a resolver may hold in its cache matches the chain that the mail server presents.
//! 2. **Withdrawal.** A first publication is guarded by every prerequisite; a withdrawal needs a proven loss that outlasts its
//!    hold time, or the operator's word. What can't be checked changes nothing.
//! 3. **Pure core.** What to publish, what to answer and what to do next are functions of values. Time is an argument.

pub mod acme;
#[cfg(feature = "server")]
pub mod act;
pub mod answer;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod crash;
pub mod dane;
pub mod dns;
#[cfg(feature = "server")]
pub mod keeper;
pub mod keys;
#[cfg(feature = "server")]
pub mod observe;
pub mod outside;
pub mod plugin;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "server")]
pub mod store;
pub mod tell;
pub mod transfer;
pub mod update;
pub mod zone;
