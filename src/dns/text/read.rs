//! Words to RDATA: walks the fields of a type, takes the words that each field wants, and says which one is wrong.

use data_encoding::{BASE32HEX_NOPAD, HEXUPPER_PERMISSIVE};

use super::{
    TextError, Word, apl, check, decode_hex, gateway, loc, mnemonic, push_base64, show, svcb, syntax, time,
    unescape_string,
};
use crate::dns::name::push_name;
use crate::dns::rtype::Field;
use crate::dns::{Name, Rdata, Rtype, rdata};

/// The longest RDATA in octets: RDLENGTH is 16 bits wide.
const MAX_RDATA: usize = 65_535;

/// Reads the RDATA of `rtype` from its words. Relative names get `origin`. `\# length hex` is read for every type
/// (RFC 3597 section 5); for a known type it has to be that type's wire form.
pub fn read_rdata(rtype: Rtype, words: &[Word<'_>], origin: &Name) -> Result<Rdata, TextError> {
    let mut rdata = Vec::new();
    read_rdata_into(rtype, words, origin, &mut rdata)?;
    Ok(rdata.into())
}

/// [`read_rdata`] into a buffer, in the place of what is in it. After an error it holds nothing of use.
pub fn read_rdata_into(rtype: Rtype, words: &[Word<'_>], origin: &Name, out: &mut Vec<u8>) -> Result<(), TextError> {
    out.clear();
    let mut reader = Reader { words, at: 0, origin };
    let read = if words.first() == Some(&Word::bare(br"\#")) {
        reader.at = 1;
        reader.generic(rtype, out)
    } else {
        reader.typed(rtype, out)
    };
    read.map_err(|mut error| {
        if error.help.is_none() {
            error.help = syntax(rtype).map(|example| format!("for example: {example}"));
        }
        error
    })
}

/// The words of one RDATA, and how far they are read.
pub(super) struct Reader<'a> {
    pub(super) words: &'a [Word<'a>],
    pub(super) at: usize,
    pub(super) origin: &'a Name,
}

impl<'a> Reader<'a> {
    fn typed(&mut self, rtype: Rtype, out: &mut Vec<u8>) -> Result<(), TextError> {
        let Some(info) = rtype.info() else {
            return Err(TextError {
                word: 0,
                message: format!(
                    "the form of {rtype} is not known here: expected `\\#`, the length in octets, and hexadecimal"
                ),
                help: Some(r"for example: \# 4 C0000201 (RFC 3597)".to_owned()),
            });
        };
        for &field in info.fields {
            self.field(field, out)?;
        }
        self.done()?;
        if out.len() > MAX_RDATA {
            return Err(self.error_at(0, format!("the RDATA is {} octets long; 65535 is the most", out.len())));
        }
        check::check(rtype, out).map_err(|(field, message)| self.error_at(field, message))
    }

    fn generic(&mut self, rtype: Rtype, out: &mut Vec<u8>) -> Result<(), TextError> {
        let len = self.number(MAX_RDATA as u64, "the length of the RDATA in octets")? as usize;
        let first = self.at;
        if self.at < self.words.len() {
            self.hex(out)?;
        }
        if out.len() != len {
            return Err(self.error_at(first - 1, format!("the length says {len} octets, but {} follow", out.len())));
        }
        if rdata::fields(rtype, out).is_none() {
            return Err(self.error_at(first, format!("these octets are not the wire form of {rtype}")));
        }
        Ok(())
    }

    fn field(&mut self, field: Field, out: &mut Vec<u8>) -> Result<(), TextError> {
        match field {
            Field::Name { .. } => self.name(out)?,
            Field::U8 => out.push(self.number(0xff, "a number")? as u8),
            Field::U16 => out.extend_from_slice(&(self.number(0xffff, "a number")? as u16).to_be_bytes()),
            Field::U32 => out.extend_from_slice(&(self.number(0xffff_ffff, "a number")? as u32).to_be_bytes()),
            Field::Seconds => out.extend_from_slice(&self.seconds()?.to_be_bytes()),
            Field::Time => out.extend_from_slice(&self.time()?.to_be_bytes()),
            Field::Type => out.extend_from_slice(&self.rtype()?.0.to_be_bytes()),
            Field::Algorithm => {
                out.push(self.look_up("a DNSSEC algorithm, such as 13 or ECDSAP256SHA256", mnemonic::algorithm)?)
            }
            Field::CertType => {
                let number = self.look_up("a certificate type, such as PKIX or 1", mnemonic::cert_type)?;
                out.extend_from_slice(&number.to_be_bytes());
            }
            Field::Ipv4 => out.extend_from_slice(&self.ipv4()?.octets()),
            Field::Ipv6 => out.extend_from_slice(&self.ipv6()?.octets()),
            Field::String => self.string(out)?,
            Field::Strings => {
                self.string(out)?;
                while self.at < self.words.len() {
                    self.string(out)?;
                }
            }
            Field::Text => self.text(out)?,
            Field::Tag => self.tag(out)?,
            Field::Hex => self.hex(out)?,
            Field::Base64 => self.base64(out)?,
            Field::Salt => self.salt(out)?,
            Field::Base32Hex => self.base32hex(out)?,
            Field::Bitmap => self.bitmap(out)?,
            Field::Eui48 => self.eui(6, "00-00-5e-00-53-2a", out)?,
            Field::Eui64 => self.eui(8, "00-00-5e-ef-10-00-00-2a", out)?,
            Field::Loc => loc::read(self, out)?,
            Field::Apl => apl::read(self, out)?,
            Field::Ipseckey => gateway::read_ipseckey(self, out)?,
            Field::Hip => gateway::read_hip(self, out)?,
            Field::SvcParams => svcb::read(self, out)?,
        }
        Ok(())
    }

    /// An error at the word with this index.
    pub(super) fn error_at(&self, word: usize, message: impl Into<String>) -> TextError {
        TextError { word, message: message.into(), help: None }
    }

    /// `expected …, found …`, at the word that was taken last.
    pub(super) fn unexpected(&self, expected: &str) -> TextError {
        let word = self.at - 1;
        self.error_at(word, format!("expected {expected}, found `{}`", show(self.words[word].text)))
    }

    fn done(&self) -> Result<(), TextError> {
        match self.words.get(self.at) {
            None => Ok(()),
            Some(word) => {
                Err(self
                    .error_at(self.at, format!("unexpected `{}` after the end of the record's data", show(word.text))))
            }
        }
    }

    /// The next word, quoted or not.
    pub(super) fn any(&mut self, expected: &str) -> Result<Word<'a>, TextError> {
        let missing = || self.error_at(self.at, format!("the record ends too early: expected {expected}"));
        let word = *self.words.get(self.at).ok_or_else(missing)?;
        self.at += 1;
        Ok(word)
    }

    /// The next word, which must not be quoted.
    pub(super) fn bare(&mut self, expected: &str) -> Result<&'a [u8], TextError> {
        let word = self.any(expected)?;
        if word.quoted {
            let message = format!("expected {expected} without quotation marks");
            return Err(self.error_at(self.at - 1, message));
        }
        Ok(word.text)
    }

    fn bare_str(&mut self, expected: &str) -> Result<&'a str, TextError> {
        let text = self.bare(expected)?;
        std::str::from_utf8(text).map_err(|_| self.unexpected(expected))
    }

    /// A decimal number up to `most`.
    pub(super) fn number(&mut self, most: u64, what: &str) -> Result<u64, TextError> {
        let word = self.words.get(self.at).filter(|word| !word.quoted && word.text.len() <= 20);
        if let Some(number) = word.and_then(|word| time::decimal(word.text)).filter(|number| *number <= most) {
            self.at += 1;
            return Ok(number);
        }
        let expected = format!("{what} from 0 to {most}");
        self.bare(&expected)?;
        Err(self.unexpected(&expected))
    }

    fn look_up<T>(&mut self, expected: &str, find: impl Fn(&str) -> Option<T>) -> Result<T, TextError> {
        let text = self.bare_str(expected)?;
        find(text).filter(|_| !text.starts_with('+')).ok_or_else(|| self.unexpected(expected))
    }

    fn seconds(&mut self) -> Result<u32, TextError> {
        let expected = "a time span in seconds, or with units such as 1h30m";
        let text = self.bare(expected)?;
        time::parse_span(text).and_then(|span| u32::try_from(span).ok()).ok_or_else(|| self.unexpected(expected))
    }

    fn time(&mut self) -> Result<u32, TextError> {
        let expected = "a time as YYYYMMDDHHmmSS, or in seconds since 1970";
        let text = self.bare(expected)?;
        time::parse_time(text).ok_or_else(|| self.unexpected(expected))
    }

    fn rtype(&mut self) -> Result<Rtype, TextError> {
        let expected = "a record type, such as A or TYPE65280";
        let text = self.bare(expected)?;
        Rtype::parse_bytes(text).ok_or_else(|| self.unexpected(expected))
    }

    /// A domain name.
    pub(super) fn name(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let text = self.bare("a domain name")?;
        if has_quote(text) {
            return Err(self.unexpected("a domain name without quotation marks"));
        }
        push_name(text, self.origin.as_wire(), out).map_err(|error| {
            let message = format!("`{}` is not a domain name: {error}", show(text));
            self.error_at(self.at - 1, message)
        })
    }

    /// An IPv4 address.
    pub(super) fn ipv4(&mut self) -> Result<std::net::Ipv4Addr, TextError> {
        self.look_up("an IPv4 address such as 192.0.2.1", |text| text.parse().ok())
    }

    /// An IPv6 address.
    pub(super) fn ipv6(&mut self) -> Result<std::net::Ipv6Addr, TextError> {
        self.look_up("an IPv6 address such as 2001:db8::1", |text| text.parse().ok())
    }

    /// The octets of one string, escapes resolved.
    pub(super) fn text(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let word = self.any("a string in quotation marks")?;
        if !word.quoted && has_quote(word.text) {
            let message = "a quotation mark inside an unquoted word";
            let mut error = self.error_at(self.at - 1, message);
            error.help = Some(r#"put the whole string in quotation marks, and write \" for one inside"#.to_owned());
            return Err(error);
        }
        if !word.text.contains(&b'\\') {
            out.extend_from_slice(word.text);
            return Ok(());
        }
        let octets = unescape_string(word.text).map_err(|error| self.error_at(self.at - 1, error.to_string()))?;
        out.extend_from_slice(&octets);
        Ok(())
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let length_at = out.len();
        out.push(0);
        self.text(out)?;
        let octets = out.len() - length_at - 1;
        let Ok(len) = u8::try_from(octets) else {
            let mut error =
                self.error_at(self.at - 1, format!("a string of {octets} octets: a string holds at most 255"));
            error.help = Some(
                r#"split it in two or more, which readers join without a space: ( "first 255 octets" "the rest" )"#
                    .to_owned(),
            );
            return Err(error);
        };
        out[length_at] = len;
        Ok(())
    }

    fn tag(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let expected = "a tag of letters and digits, such as issue";
        let text = self.bare(expected)?;
        // RFC 8659 section 4.1.
        if text.is_empty() || text.len() > 255 || !text.iter().all(u8::is_ascii_alphanumeric) {
            return Err(self.unexpected(expected));
        }
        out.push(text.len() as u8);
        out.extend_from_slice(text);
        Ok(())
    }

    /// All words that are left, joined: white space may stand in hexadecimal and base64. Decoded behind what is in `out`.
    fn decoded(
        &mut self,
        what: &str,
        valid: fn(u8) -> bool,
        decode: impl Fn(&[u8], &mut Vec<u8>) -> Option<()>,
        out: &mut Vec<u8>,
    ) -> Result<(), TextError> {
        let first = self.at;
        let text = self.bare(what)?;
        let decoded = if self.at == self.words.len() {
            decode(text, out)
        } else {
            let mut all = text.to_vec();
            while self.at < self.words.len() {
                all.extend_from_slice(self.bare(what)?);
            }
            decode(&all, out)
        };
        if decoded.is_some() {
            return Ok(());
        }
        let bad = (first..self.words.len()).find(|&index| !self.words[index].text.iter().all(|&octet| valid(octet)));
        Err(match bad {
            Some(index) => self.error_at(index, format!("expected {what}, found `{}`", show(self.words[index].text))),
            None => self.error_at(
                self.words.len() - 1,
                format!("this is not whole {what}: characters are missing or too many at its end"),
            ),
        })
    }

    fn hex(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        self.decoded("hexadecimal", |octet| octet.is_ascii_hexdigit(), decode_hex, out)
    }

    /// All words that are left as base64.
    pub(super) fn base64(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let valid = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
        self.decoded("base64", valid, push_base64, out)
    }

    fn salt(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let expected = "a salt in hexadecimal, or `-` for none";
        let text = self.bare(expected)?;
        let salt = if text == b"-" { Vec::new() } else { HEXUPPER_PERMISSIVE.decode(text).unwrap_or_default() };
        let Ok(len) = u8::try_from(salt.len()) else { return Err(self.unexpected(expected)) };
        if len == 0 && text != b"-" {
            return Err(self.unexpected(expected));
        }
        out.push(len);
        out.extend_from_slice(&salt);
        Ok(())
    }

    fn base32hex(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let expected = "a hash in base32hex without padding";
        let upper = self.bare(expected)?.to_ascii_uppercase();
        match BASE32HEX_NOPAD.decode(&upper) {
            Ok(hash) if (1..=255).contains(&hash.len()) => {
                out.push(hash.len() as u8);
                out.extend_from_slice(&hash);
                Ok(())
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn bitmap(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        // Nearly all types are of the first window.
        let mut window = [0u8; 32];
        let mut beyond = Vec::new();
        while self.at < self.words.len() {
            match self.rtype()? {
                Rtype(number @ 0..=255) => window[usize::from(number / 8)] |= 0x80 >> (number % 8),
                other => beyond.push(other),
            }
        }
        if let Some(last) = window.iter().rposition(|&octets| octets != 0) {
            out.extend_from_slice(&[0, last as u8 + 1]);
            out.extend_from_slice(&window[..=last]);
        }
        if !beyond.is_empty() {
            out.extend_from_slice(&rdata::bitmap(beyond));
        }
        Ok(())
    }

    fn eui(&mut self, octets: usize, example: &str, out: &mut Vec<u8>) -> Result<(), TextError> {
        let expected = format!("{octets} octets in hexadecimal with dashes, such as {example}");
        let text = self.bare(&expected)?;
        let parts: Vec<&[u8]> = text.split(|&octet| octet == b'-').collect();
        if parts.len() != octets {
            return Err(self.unexpected(&expected));
        }
        for part in parts {
            match HEXUPPER_PERMISSIVE.decode(part) {
                Ok(octet) if octet.len() == 1 => out.push(octet[0]),
                _ => return Err(self.unexpected(&expected)),
            }
        }
        Ok(())
    }
}

/// Whether a quotation mark stands in an unquoted word that no `\` hides.
fn has_quote(text: &[u8]) -> bool {
    if !text.contains(&b'"') {
        return false;
    }
    let mut escaped = false;
    text.iter().any(|&octet| {
        let found = octet == b'"' && !escaped;
        escaped = octet == b'\\' && !escaped;
        found
    })
}
