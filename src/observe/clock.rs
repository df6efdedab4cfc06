//! What the clocks say, for the rollover: read, and believed by somebody else.
#![expect(unsafe_code, reason = "no crate wraps adjtimex, and the boot-time clock has to come from the C library")]

use std::mem;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::dane::rollover::Reading;

/// Both clocks, the boot, and whether the kernel takes the wall clock for synchronised.
///
/// The kernel learns of that from who disciplines the clock: chrony with `rtcsync`, ntpd, systemd-timesyncd. Where nobody does, or
/// the process may not ask (`ProtectClock=` in its unit), it is not: the time that the machine was off is then never credited.
pub fn reading() -> Reading {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Reading { wall: wall.as_secs(), boot: boot_time().0, boot_id: boot_id(), synchronised: is_synchronised() }
}

/// Seconds since boot, suspended ones too, and nanoseconds. By way of the C library, where whoever moves a process's clocks moves this
/// one too (libfaketime); a raw system call goes past it.
fn boot_time() -> (u64, u64) {
    // SAFETY: zero octets are a value of this C structure.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the structure outlives the call.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    // It fails on kernels before 2.6.39 only, and a clock that stands still credits nothing.
    if read == 0 { (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned()) } else { (0, 0) }
}

/// A number that another boot has not. Where the kernel does not tell, no two processes have the same: time is then credited as if
/// the machine had booted between them, so a wait can become longer, never shorter.
fn boot_id() -> u64 {
    static BOOT_ID: OnceLock<u64> = OnceLock::new();
    *BOOT_ID.get_or_init(|| match std::fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(id) if !id.is_empty() => number_of(&id),
        _ => number_of(format!("{:?} {:?} {}", boot_time(), SystemTime::now(), std::process::id()).as_bytes()),
    })
}

fn number_of(octets: &[u8]) -> u64 {
    Sha256::digest(octets).iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}

fn is_synchronised() -> bool {
    is_in_order(kernel_clock())
}

fn is_in_order((answer, status): (libc::c_int, libc::c_int)) -> bool {
    answer >= 0 && answer != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

/// The clock's state, negative where it may not be asked, and its status bits.
fn kernel_clock() -> (libc::c_int, libc::c_int) {
    // SAFETY: zero octets are a value of this C structure; modes 0 asks and sets nothing.
    let mut clock: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: the structure outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut clock) };
    (answer, clock.status)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// The machine's own clock, by another way.
    fn uptime() -> u64 {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        text.split('.').next().unwrap().parse().unwrap()
    }

    #[test]
    fn both_clocks_go_and_the_boot_stays() {
        let first = reading();
        assert!(first.boot.abs_diff(uptime()) < 3, "{first:?}");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let second = reading();
        assert!(second.boot > first.boot && second.wall > first.wall, "{first:?} {second:?}");
        assert_eq!(first.boot_id, second.boot_id);
        assert_ne!(number_of(b"one"), number_of(b"another"));
    }

    #[test]
    fn the_clock_is_synchronised_when_the_kernel_says_so_twice() {
        assert!(kernel_clock().0 >= 0, "the kernel is asked");
        for state in [libc::TIME_OK, libc::TIME_INS, libc::TIME_WAIT] {
            assert!(is_in_order((state, 0)) && is_in_order((state, libc::STA_PLL)), "{state}");
            assert!(!is_in_order((state, libc::STA_PLL | libc::STA_UNSYNC)), "{state}");
        }
        assert!(!is_in_order((libc::TIME_ERROR, 0)) && !is_in_order((-1, 0)));
    }

    /// A reading of another process, two days ahead by libfaketime.
    fn read_ahead(boot_time_too: bool) -> (u64, u64, u64) {
        let name = "observe::clock::tests::a_process_with_moved_clocks_reads_them_moved";
        let mut child = Command::new("faketime");
        child.args(["-f", "+2d"]).arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
        child.env("DANELAW_TEST_CLOCK", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", if boot_time_too { "0" } else { "1" });
        let output = child.output().expect("the faketime command is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("reading ")).expect(&text);
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        (numbers[0], numbers[1], numbers[2])
    }

    #[test]
    fn a_process_with_moved_clocks_reads_them_moved() {
        if std::env::var_os("DANELAW_TEST_CLOCK").is_some() {
            let read = reading();
            return writeln!(std::io::stdout(), "\nreading {} {} {}", read.wall, read.boot, read.boot_id).unwrap();
        }
        const AHEAD: u64 = 2 * 86400;
        for boot_time_too in [true, false] {
            let now = reading();
            let (wall, boot, boot_id) = read_ahead(boot_time_too);
            assert!((AHEAD..AHEAD + 60).contains(&(wall - now.wall)), "{wall} {now:?}");
            assert_eq!(boot_id, now.boot_id);
            match boot_time_too {
                true => assert!(boot >= now.boot + AHEAD, "{boot} {now:?}"),
                false => assert!(boot - now.boot < 60, "{boot} {now:?}"),
            }
        }
    }
}
