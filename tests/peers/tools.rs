//! Runs named-compilezone and ldns-read-zone, and brings their output to one form.

use std::path::Path;
use std::process::{Command, Output};

use danelaw::dns::{Rtype, rtype::Field};

/// The zone that every file here is of.
pub const ORIGIN: &str = "example.org.";

fn run(command: &mut Command, package: &str) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("can't run {:?}: {error}. Install the Debian package {package}", command.get_program())
    })
}

/// The zone as named-compilezone prints it, a record a line, sorted; or what it complains of.
pub fn bind(text: &[u8]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("zone"), folder.path().join("out"));
    std::fs::write(&file, text).expect("written");
    // Only reading and printing is compared: the checks of what records mean are off.
    let off =
        ["-i", "none", "-k", "ignore", "-n", "ignore", "-m", "ignore", "-M", "ignore", "-S", "ignore", "-T", "ignore"];
    let mut command = Command::new("named-compilezone");
    command.args(off).args(["-r", "ignore", "-D", "-o"]).arg(&out).args([ORIGIN, path(&file)]);
    let output = run(&mut command, "bind9-utils");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    let text = std::fs::read_to_string(out).expect("named-compilezone's output");
    Ok(lines(&text))
}

/// The zone as ldns-read-zone prints it, as it is.
pub fn ldns(text: &[u8]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("zone");
    // ldns has no argument for the origin.
    std::fs::write(&file, [format!("$ORIGIN {ORIGIN}\n").as_bytes(), text].concat()).expect("written");
    let output = run(Command::new("ldns-read-zone").arg(path(&file)), "ldnsutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text.lines().map(|line| escape_quotes(line) + "\n").collect()),
        false => Err(text + &String::from_utf8_lossy(&output.stderr)),
    }
}

/// ldns prints a quotation mark within a name without its `\`: RFC 1035 section 5.1 leaves that open, we don't read it.
fn escape_quotes(line: &str) -> String {
    let mut out = String::new();
    let (mut quoted, mut escaped, mut before) = (false, false, ' ');
    for character in line.chars() {
        if character == '"' && !escaped {
            if quoted || before.is_whitespace() || before == '=' {
                quoted = !quoted;
            } else {
                out.push('\\');
            }
        }
        escaped = character == '\\' && !escaped;
        before = character;
        out.push(character);
    }
    out
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Printed records in one form and order: `owner TTL IN type rdata` with single spaces.
pub fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with(';')).map(normal).collect();
    lines.sort();
    lines
}

/// What BIND prints in another way than we do, and who says that both are right.
fn normal(line: &str) -> String {
    let words = cut(line);
    let rtype = Rtype::parse(&words[3]);
    let fields = rtype.and_then(Rtype::info).map(|info| info.fields).unwrap_or_default();
    let mut out = words[..4].to_vec();
    let rdata = &words[4..];
    // White space may stand in hexadecimal and base64 (RFC 4034 sections 2.2 and 5.3): BIND breaks it up.
    let whole = matches!(fields.last(), Some(Field::Hex | Field::Base64)) && rdata[0] != "\\#";
    let kept = if whole { fields.len() - 1 } else { rdata.len() };
    for (index, word) in rdata[..kept].iter().enumerate() {
        out.push(match fields.get(index) {
            // CERT's algorithm is a number or a mnemonic (RFC 4398 section 2.2): BIND prints the mnemonic.
            Some(Field::Algorithm) => algorithm(word),
            // BIND 9.18 doesn't know dohpath by name (RFC 9461 section 5) nor ohttp (RFC 9540 section 4).
            _ if word.starts_with("key7=") => word.replacen("key7", "dohpath", 1),
            _ if word == "key8" => "ohttp".to_owned(),
            _ => word.clone(),
        });
    }
    if whole {
        out.push(rdata[kept..].concat());
    }
    out.join(" ")
}

fn algorithm(word: &str) -> String {
    let known =
        [("RSASHA1", "5"), ("RSASHA256", "8"), ("RSASHA512", "10"), ("ECDSAP256SHA256", "13"), ("ED25519", "15")];
    known.iter().find(|(name, _)| *name == word).map_or(word, |(_, number)| number).to_owned()
}

/// Cuts at white space that is not in quotation marks nor behind a `\`.
fn cut(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for character in line.chars() {
        if character.is_ascii_whitespace() && !quoted && !escaped {
            words.push(String::new());
            continue;
        }
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        words.last_mut().expect("a word").push(character);
    }
    words.retain(|word| !word.is_empty());
    words
}
