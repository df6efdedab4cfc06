//! LOC (RFC 1876): degrees, minutes and seconds, altitude and sizes in metres.

use super::print::push;
use super::read::Reader;
use super::{TextError, show};

/// The equator and the prime meridian, in thousandths of a second of arc (RFC 1876 section 2).
const MIDDLE: u32 = 1 << 31;
/// Altitudes count from 100,000 m below the reference spheroid, in centimetres.
const ALTITUDE_BASE: i64 = 10_000_000;

/// Reads `d1 [m1 [s1]] N|S d2 [m2 [s2]] E|W alt [size [horizontal [vertical]]]` (RFC 1876 section 3).
pub(super) fn read(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), TextError> {
    let latitude = angle(reader, 90, b'N', b'S', "latitude")?;
    let longitude = angle(reader, 180, b'E', b'W', "longitude")?;
    let expected = "an altitude in metres from -100000.00m to 42849672.95m";
    let text = reader.bare(expected)?;
    let altitude = centimetres(text).and_then(|value| u32::try_from(value + ALTITUDE_BASE).ok());
    let altitude = altitude.ok_or_else(|| reader.unexpected(expected))?;
    // Version 0; the defaults of RFC 1876 section 3: 1 m, 10,000 m, 10 m.
    let mut head = [0u8, 0x12, 0x16, 0x13];
    for precision in &mut head[1..] {
        if reader.at == reader.words.len() {
            break;
        }
        let expected = "a size in metres up to 90000000.00m";
        let text = reader.bare(expected)?;
        let size = centimetres(text).and_then(encode_size);
        *precision = size.ok_or_else(|| reader.unexpected(expected))?;
    }
    out.extend_from_slice(&head);
    for number in [latitude, longitude, altitude] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// Prints the sixteen octets; none when a version, a size or an angle is out of its range.
pub(super) fn print(octets: &[u8], out: &mut String) -> Option<()> {
    let (head, numbers) = octets.split_first_chunk::<4>()?;
    if head[0] != 0 {
        return None;
    }
    let number = |index: usize| -> Option<u32> {
        Some(u32::from_be_bytes(numbers.get(index * 4..index * 4 + 4)?.try_into().ok()?))
    };
    print_angle(number(0)?, 90, ['N', 'S'], out)?;
    out.push(' ');
    print_angle(number(1)?, 180, ['E', 'W'], out)?;
    let altitude = i64::from(number(2)?) - ALTITUDE_BASE;
    let sign = if altitude < 0 { "-" } else { "" };
    push(out, format_args!(" {sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100));
    for &precision in &head[1..] {
        let (mantissa, exponent) = (u64::from(precision >> 4), u32::from(precision & 15));
        // A zero has one form only: 0e0.
        if mantissa > 9 || exponent > 9 || (mantissa == 0 && exponent > 0) {
            return None;
        }
        let size = mantissa * 10u64.pow(exponent);
        if exponent < 2 {
            push(out, format_args!(" {}.{:02}m", size / 100, size % 100));
        } else {
            push(out, format_args!(" {}m", size / 100));
        }
    }
    Some(())
}

fn angle(reader: &mut Reader<'_>, most: u32, plus: u8, minus: u8, what: &str) -> Result<u32, TextError> {
    let hemisphere = |text: &[u8]| match text {
        [letter] if letter.eq_ignore_ascii_case(&plus) => Some(true),
        [letter] if letter.eq_ignore_ascii_case(&minus) => Some(false),
        _ => None,
    };
    let first = reader.at;
    let mut thousandths = reader.number(u64::from(most), &format!("degrees of {what}"))? as u32 * 3_600_000;
    let letters = format!("{} or {}", char::from(plus), char::from(minus));
    let mut text = reader.bare(&format!("minutes of {what}, or {letters}"))?;
    if hemisphere(text).is_none() {
        reader.at -= 1;
        thousandths += reader.number(59, &format!("minutes of {what}"))? as u32 * 60_000;
        text = reader.bare(&format!("seconds of {what}, or {letters}"))?;
    }
    if hemisphere(text).is_none() {
        let seconds = decimal(text, 3).filter(|&seconds| seconds < 60_000);
        thousandths += seconds.ok_or_else(|| reader.unexpected("seconds from 0 to 59.999"))? as u32;
        text = reader.bare(&letters)?;
    }
    let Some(positive) = hemisphere(text) else { return Err(reader.unexpected(&letters)) };
    if thousandths > most * 3_600_000 {
        let given = show(reader.words[first].text);
        return Err(reader.error_at(first, format!("a {what} beyond {most} degrees: {given} and minutes on top")));
    }
    Ok(if positive { MIDDLE + thousandths } else { MIDDLE - thousandths })
}

fn print_angle(value: u32, most: u32, letters: [char; 2], out: &mut String) -> Option<()> {
    let distance = value.abs_diff(MIDDLE);
    if distance > most * 3_600_000 {
        return None;
    }
    let letter = letters[usize::from(value < MIDDLE)];
    let (seconds, thousandths) = (distance / 1000, distance % 1000);
    push(out, format_args!("{} {} {}.{thousandths:03} {letter}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    Some(())
}

/// A number with up to `places` decimal places, scaled by ten to their power.
fn decimal(text: &[u8], places: usize) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || fraction.len() > places || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// Metres with an optional `m` behind them, in centimetres.
fn centimetres(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"m").or(text.strip_suffix(b"M")).unwrap_or(text);
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    Some(sign * i64::try_from(decimal(digits, 2)?).ok()?)
}

/// A size as mantissa and exponent of ten (RFC 1876 section 2), cut off like BIND's.
fn encode_size(centimetres: i64) -> Option<u8> {
    let mut mantissa = u64::try_from(centimetres).ok()?;
    let mut exponent = 0u8;
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    (exponent <= 9).then_some((mantissa as u8) << 4 | exponent)
}
