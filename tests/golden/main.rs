//! Golden files: zones and what has to become of them, word for word.
//!
//! `DANELAW_BLESS=1 cargo test --test golden` writes the expectations anew; read the diff before you commit it.

mod malformed;
mod zones;
