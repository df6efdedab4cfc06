//! Time in zone text: TTLs with units, and RRSIG's `YYYYMMDDHHmmSS`. No clock is read.

use crate::dns::Timestamp;

/// Reads a decimal number: digits and nothing else.
pub fn decimal(text: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for octet in text {
        let digit = u64::from(octet.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        // Nineteen digits fit.
        number = if text.len() < 20 { number * 10 + digit } else { number.checked_mul(10)?.checked_add(digit)? };
    }
    (!text.is_empty()).then_some(number)
}

/// Reads a TTL or another span in seconds: a number, or numbers with units as BIND reads them (`1h30m`, `2w`).
/// None when it is neither; numbers too large for the result are given as they are, for the caller to refuse.
pub fn parse_span(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 40 {
        return None;
    }
    if let Some(seconds) = decimal(text) {
        return Some(seconds);
    }
    let mut total = 0u64;
    let mut number: Option<u64> = None;
    let mut units = false;
    for &octet in text {
        if octet.is_ascii_digit() {
            let so_far = number.unwrap_or(0);
            number = Some(so_far.saturating_mul(10).saturating_add(u64::from(octet - b'0')));
            continue;
        }
        let unit = match octet.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.saturating_add(number.take()?.saturating_mul(unit));
        units = true;
    }
    match number {
        Some(_) if units => None,
        Some(seconds) => Some(seconds),
        None => Some(total),
    }
}

/// Reads `YYYYMMDDHHmmSS` in UTC, or a number of seconds (RFC 4034 section 3.2). Years past 2106 wrap around, as the
/// field is compared in serial number arithmetic (RFC 4034 section 3.1.5).
pub fn parse_time(text: &[u8]) -> Option<u32> {
    let Ok(digits) = <&[u8; 14]>::try_from(text) else {
        return decimal(text).and_then(|seconds| u32::try_from(seconds).ok());
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let part =
        |from: usize, to: usize| digits[from..to].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let time = from_civil([part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14)])?;
    Some(time as u32)
}

/// Reads a date and time of RFC 3339 section 5.6; the fraction of a second is left out. None before 1970.
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked("YYYY-MM-DD".len())?;
    let (time, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked("HH:mm:SS".len())?;
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    if date.find('-') != Some(4) {
        return None;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            Some(zone).filter(|zone| zone.len() < fraction.len())?
        }
        None => rest,
    };
    let local = from_civil([year, month, day, hour, minute, second])?;
    let (sign, offset) = zone.split_at_checked(1)?;
    if matches!(sign, "Z" | "z") {
        return offset.is_empty().then_some(local);
    }
    let [hours, minutes] = numbers(offset, ':').filter(|_| offset.len() == "HH:mm".len())?;
    let seconds = Some(hours * 3600 + minutes * 60).filter(|_| hours < 24 && minutes < 60)?;
    match sign {
        "+" => local.checked_sub(seconds),
        "-" => local.checked_add(seconds),
        _ => None,
    }
}

/// Numbers of two digits or more with something between.
fn numbers<const COUNT: usize>(text: &str, between: char) -> Option<[u64; COUNT]> {
    let numbers = text.split(between).map(|part| decimal(part.as_bytes()).filter(|_| part.len() >= 2));
    numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// The time of year, month, day, hour, minute and second; none where there is no such moment since 1970.
fn from_civil([year, month, day, hour, minute, second]: [u64; 6]) -> Option<Timestamp> {
    let is_date = year >= 1970 && (1..=12).contains(&month) && day > 0 && day <= month_days(year, month);
    let is_time = hour <= 23 && minute <= 59 && second <= 60;
    (is_date && is_time).then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The days from 1970-01-01 to a day of the Gregorian calendar from then on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March, so that the leap day is the last of one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Prints seconds since 1970 as `YYYYMMDDHHmmSS`.
pub fn print_time(time: u32) -> String {
    let [year, month, day, hour, minute, second] = civil(u64::from(time));
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// Prints a moment for people and programs: `2026-11-24T08:38:24Z` (RFC 3339).
pub fn print_moment(time: Timestamp) -> String {
    let [year, month, day, hour, minute, second] = civil(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month, day, hour, minute and second of a time.
fn civil(time: Timestamp) -> [u64; 6] {
    let (mut days, seconds) = (time / 86_400, time % 86_400);
    let mut year = 1970;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    [year, month, days + 1, seconds / 3600, seconds / 60 % 60, seconds % 60]
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_days(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_or_numbers_with_units() {
        assert_eq!(parse_span(b"3600"), Some(3600));
        assert_eq!(parse_span(b"1h30m"), Some(5400));
        assert_eq!(parse_span(b"1W2D3h4m5S"), Some(788_645));
        for bad in [&b""[..], b"h", b"1h30", b"1x", b"-1", b"1.5h", b"1hh"] {
            assert_eq!(parse_span(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(parse_span(b"99999999999999999999999"), Some(u64::MAX));
    }

    #[test]
    fn a_time_is_fourteen_digits_or_seconds() {
        assert_eq!(parse_time(b"19700101000000"), Some(0));
        assert_eq!(parse_time(b"20240229120000"), Some(1_709_208_000));
        assert_eq!(print_time(1_709_208_000), "20240229120000");
        assert_eq!(print_time(u32::MAX), "21060207062815");
        assert_eq!(parse_time(b"21060207062815"), Some(u32::MAX));
        assert_eq!(parse_time(b"1709208000"), Some(1_709_208_000));
        for bad in [&b"20230229000000"[..], b"20241301000000", b"20240101250000", b"5000000000", b"2024-01-01", b""] {
            assert_eq!(parse_time(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_moment_has_a_date_a_time_and_an_offset() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T12:00:00z", 1_709_208_000),
            ("2024-02-29t12:00:00.999Z", 1_709_208_000),
            ("2024-02-29 13:30:00+01:30", 1_709_208_000),
            ("2024-02-28T23:00:00-13:00", 1_709_208_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(parse_moment(text), Some(time), "{text}");
        }
        for text in [
            "",
            "2024-02-29",
            "2024-02-29T12:00:00",
            "2024-02-30T12:00:00Z",
            "2024-13-01T12:00:00Z",
            "2024-2-029T12:00:00Z",
            "24-002-029T12:00:00Z",
            "2024-02-29T24:00:00Z",
            "2024-02-29T12:00:0Z",
            "2024-02-29T1:200:00Z",
            "2024-02-29T12:00:00.Z",
            "2024-02-29T12:00:00ZZ",
            "2024-02-29T12:00:00+0100",
            "2024-02-29T12:00:00+24:00",
            "2024-02-29T12:00:00*01:00",
            "1970-01-01T00:00:00+00:01",
            "1969-12-31T23:59:59Z",
            "2024-02-29T12:00:00\u{e9}",
            "\u{e9}024-02-29T12:00:00Z",
        ] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
        for time in (0..200_000_000_000).step_by(86_400 * 365 + 3601) {
            assert_eq!(parse_moment(&print_moment(time)), Some(time), "{time}");
        }
    }

    #[test]
    fn every_day_of_a_hundred_and_thirty_years_reads_back() {
        for time in (0..u32::MAX - 86_400).step_by(86_400).map(|day| day + day / 86_400 % 86_400) {
            assert_eq!(parse_time(print_time(time).as_bytes()), Some(time), "{time}");
        }
    }
}
