//! Time in zone text: TTLs with units, and RRSIG's `YYYYMMDDHHmmSS`. No clock is read.

/// Reads a TTL or another span in seconds: a number, or numbers with units as BIND reads them (`1h30m`, `2w`).
/// None when it is neither; numbers too large for the result are given as they are, for the caller to refuse.
pub fn parse_span(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 40 {
        return None;
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
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if text.len() != 14 {
        return text.parse().ok();
    }
    let part = |range: std::ops::Range<usize>| text[range].parse::<u64>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > month_days(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    let days = (1970..year).map(year_days).sum::<u64>() + months + day - 1;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) as u32)
}

/// Prints seconds since 1970 as `YYYYMMDDHHmmSS`.
pub fn print_time(time: u32) -> String {
    let (mut days, seconds) = (u64::from(time) / 86_400, time % 86_400);
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
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{:02}{hour:02}{minute:02}{second:02}", days + 1)
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
}
