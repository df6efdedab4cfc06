//! `keys tsig`: makes a shared secret for another server, and says what that server's configuration takes.

use ring::rand::{SecureRandom, SystemRandom};

use super::args::KeysTsig;
use super::output::Output;
use super::{CliError, Outcome};
use crate::act;
use crate::config::Config;

/// Writes a key file into the keys folder, never over another, and prints the key for BIND, Knot and NSD.
pub fn run(config: &Config, args: &KeysTsig, out: &mut Output) -> Result<Outcome, CliError> {
    let (name, algorithm) = (args.name.to_host(), args.algorithm);
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if args.name.is_root() || name.starts_with('.') || !name.chars().all(is_plain) {
        let message =
            format!("{name}: a key's name is of letters, digits, hyphens and dots, such as transfer.example.org");
        return Err(CliError::Usage(message));
    }
    let mut secret = vec![0; algorithm.mac_length()];
    let random = SystemRandom::new().fill(&mut secret);
    random.map_err(|_| CliError::Failed("the system gives no randomness".to_owned()))?;
    let secret = data_encoding::BASE64.encode(&secret);
    let bind = format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n");
    let path = act::keys::write(&config.keys, &format!("{name}.key"), &bind)
        .map_err(|error| CliError::File(format!("{}: {name}.key: {error}", config.keys.display())))?;
    let named = path.strip_prefix(&config.folder).unwrap_or(&path);
    out.line(path.display().to_string())?;
    out.line(format!(
        "\n# danelaw.toml, among the keys before the first [table]\ntsig-keys = [{:?}]",
        named.display().to_string()
    ))?;
    out.line(format!("\n# BIND, named.conf\n{}", bind.trim_end()))?;
    out.line(format!("\n# Knot, knot.conf\nkey:\n  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}"))?;
    out.line(format!("\n# NSD, nsd.conf\nkey:\n\tname: \"{name}\"\n\talgorithm: {algorithm}\n\tsecret: \"{secret}\""))?;
    Ok(Outcome::Done)
}
