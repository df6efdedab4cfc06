//! `zone dump`: the signed zone as the daemon serves it; signed here with a throw-away key when no daemon runs.

use serde_json::Value;

use super::output::{Output, warn};
use super::{CliError, Outcome};
use crate::config::Config;
use crate::dns::Name;
use crate::keeper::{Finished, Keeper, now};
use crate::serve::control::{ControlError, Request, call};
use crate::store::Store;

/// Prints the zone.
pub fn dump(config: &Config, zone: &Name, out: &mut Output) -> Result<Outcome, CliError> {
    let text = match call(&config.control_socket, &Request::Dump { zone: zone.clone() }) {
        Ok(Value::String(text)) => text,
        Ok(other) => return Err(CliError::Failed(format!("the daemon sent {other}"))),
        Err(ControlError::NotRunning(_)) => {
            warn("no daemon runs here, so this is signed with a throw-away key and has no TLSA history");
            let mut keeper = Keeper::new(config.clone(), Store::ephemeral()?, true, now())?;
            keeper.cycle(&Finished::All, now());
            keeper.dump(zone).map_err(CliError::Failed)?
        }
        Err(error) => return Err(error.into()),
    };
    out.line(text.trim_end())?;
    Ok(Outcome::Done)
}
