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
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    let (hour, minute, second) = (part(8, 10), part(10, 12), part(12, 14));
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > month_days(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) as u32)
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
    fn every_day_of_a_hundred_and_thirty_years_reads_back() {
        for time in (0..u32::MAX - 86_400).step_by(86_400).map(|day| day + day / 86_400 % 86_400) {
            assert_eq!(parse_time(print_time(time).as_bytes()), Some(time), "{time}");
        }
    }
}
