//! `tlsa`: the record of a certificate, ready to paste.

use super::args::Tlsa as Args;
use super::output::{Output, warn};
use super::{CliError, Outcome};
use crate::dane::tlsa::zone_line;
use crate::dane::{Chain, Parameters, Service};
use crate::dns::Name;

/// The TTL of the printed record in seconds.
const TTL: u32 = 3600;

/// Prints a line for the host, or for each name of the certificate.
pub fn run(args: &Args, out: &mut Output) -> Result<Outcome, CliError> {
    let path = args.certificate.display();
    let octets = std::fs::read(&args.certificate).map_err(|error| CliError::File(format!("{path}: {error}")))?;
    let chain = Chain::parse(&octets).map_err(|error| CliError::File(format!("{path}: {error}")))?;
    let parameters: Parameters = format!("{} {} {}", args.usage, args.selector, args.matching)
        .parse()
        .map_err(|error: crate::dane::Error| CliError::Usage(error.to_string()))?;
    for host in hosts(args, &chain)? {
        let service = Service { host, port: args.port, protocol: args.protocol.unwrap_or_default() };
        let (line, warnings) = zone_line(&chain, parameters, &service, TTL)
            .map_err(|error| CliError::Failed(format!("{path}: {error}")))?;
        for warning in warnings {
            warn(&warning);
        }
        out.line(line)?;
    }
    Ok(Outcome::Done)
}

fn hosts(args: &Args, chain: &Chain) -> Result<Vec<Name>, CliError> {
    if let Some(host) = &args.host {
        return Ok(vec![host.clone()]);
    }
    let names = chain.leaf().dns_names.iter().filter(|name| !name.starts_with('*'));
    let hosts: Vec<Name> = names.filter_map(|name| Name::parse(name, None).ok()).collect();
    match hosts.is_empty() {
        true => Err(CliError::Usage("the certificate names no host (wildcards aside): say --host".to_owned())),
        false => Ok(hosts),
    }
}
