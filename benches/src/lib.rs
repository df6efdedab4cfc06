//! Measures danelaw: zones and questions that are the same at every run, clients that spend less than servers do, the servers' ceilings,
//! and other servers beside it. Nothing here is part of danelaw, and danelaw knows nothing of it.

pub mod args;
pub mod ceiling;
pub mod change;
pub mod compare;
pub mod data;
pub mod fixture;
pub mod flood;
pub mod probe;
pub mod process;
pub mod profile;
pub mod rollover;
pub mod servers;
pub mod signing;
pub mod startup;
pub mod system;
pub mod table;
pub mod transfer;
pub mod zones;

use std::fmt;

/// Why a measurement could not be made.
#[derive(Debug)]
pub struct Error(String);

/// What may fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// With this message.
    pub fn new(message: impl Into<String>) -> Error {
        Error(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error(error.to_string())
    }
}
