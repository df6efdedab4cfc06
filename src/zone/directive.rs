//! The directives of a zone file (RFC 1035 section 5.1, RFC 2308 section 4), but for `$GENERATE`.

use std::sync::Arc;

use super::entry::{Fault, argument, check_ttl, domain_name, fault, none_left};
use super::file::unreadable;
use super::parser::{Context, Parser};
use super::scan::Token;
use super::source::Text;
use crate::dns::text::{self, show, time};

/// How deep includes may nest.
const MAX_DEPTH: usize = 16;
/// How many files one zone may include in all.
const MAX_INCLUDES: usize = 1000;

impl Parser<'_, '_> {
    pub(super) fn origin(
        &mut self,
        context: &mut Context<'_>,
        first: &Token<'_>,
        arguments: &[Token<'_>],
    ) -> Result<(), Fault> {
        let example = "for example: $ORIGIN sub.example.org.";
        let token = argument(first, arguments, "a domain name").map_err(|fault| fault.help(example))?;
        none_left(&arguments[1..])?;
        context.origin_lost = true;
        context.owner_text = b"";
        context.origin = domain_name(token, &context.origin)?;
        context.origin_lost = false;
        Ok(())
    }

    pub(super) fn ttl_directive(&mut self, first: &Token<'_>, arguments: &[Token<'_>]) -> Result<(), Fault> {
        let example = "for example: $TTL 3600, or $TTL 1h";
        let token = argument(first, arguments, "a TTL").map_err(|fault| fault.help(example))?;
        none_left(&arguments[1..])?;
        let span = time::parse_span(token.word.text)
            .filter(|_| !token.word.quoted)
            .ok_or_else(|| fault(token.place, format!("`{}` is not a TTL", show(token.word.text))).help(example))?;
        self.default_ttl = Some(check_ttl(span, token.place)?);
        Ok(())
    }

    /// `$INCLUDE file [origin]`: origin and last owner are as before when it is done (RFC 1035 section 5.1). A `$TTL`
    /// in it stays, as in BIND (RFC 2308 section 4: until the next one).
    pub(super) fn include(
        &mut self,
        context: &mut Context<'_>,
        first: &Token<'_>,
        arguments: &[Token<'_>],
    ) -> Result<(), Fault> {
        let token = argument(first, arguments, "a file name")?;
        let origin = match arguments.get(1) {
            Some(origin) => domain_name(origin, &context.origin)?,
            None => context.origin.clone(),
        };
        none_left(arguments.get(2..).unwrap_or_default())?;
        let refused = |message: String| fault(token.place, message);
        let path = text::unescape_string(token.word.text).ok().and_then(|path| String::from_utf8(path).ok());
        let path = path.ok_or_else(|| refused("the file name can't be read".to_owned()))?;
        let normal = normalise(&path);
        self.included += 1;
        let outcome = if self.stack.contains(&normal) {
            Err(format!("{} includes itself", show(path.as_bytes())))
        } else if self.stack.len() > MAX_DEPTH {
            Err(format!("includes are nested more than {MAX_DEPTH} deep"))
        } else if self.included > MAX_INCLUDES {
            Err(format!("the zone includes more than {MAX_INCLUDES} files"))
        } else {
            let text =
                self.includes.read(&path).map_err(|error| format!("can't include {}: {error}", show(path.as_bytes())));
            text.and_then(|text| match unreadable(text.len(), &text) {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(text),
            })
        };
        let text: Arc<[u8]> = outcome.map(Arc::from).map_err(|message| {
            self.seen.gap = true;
            refused(message)
        })?;
        let index = self.sources.add(&path, Text::Included(text.clone()));
        self.stack.push(normal);
        self.run(&text, index, origin, context.owner.clone());
        self.stack.pop();
        Ok(())
    }
}

/// A path with `.` and `..` and doubled slashes resolved by its text alone: to see that two paths are one.
pub(super) fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}
