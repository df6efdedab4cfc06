//! How wire-form names stand to each other: the same, one below the other, what they have in common, which comes first.

use std::cmp::Ordering;

use super::MAX_NAME;

/// Whether two wire-form names are the same in any case. Most are asked for as they are written.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || one.eq_ignore_ascii_case(other)
}

/// Whether the wire-form name `name` is `ancestor` or below it, in any case.
pub fn is_at_or_below(name: &[u8], ancestor: &[u8]) -> bool {
    let Some(mut skip) = name.len().checked_sub(ancestor.len()) else { return false };
    let mut tail = name;
    while skip > 0 {
        let step = 1 + usize::from(tail[0]);
        if step > skip {
            return false;
        }
        tail = &tail[step..];
        skip -= step;
    }
    is_same(tail, ancestor)
}

/// How many octets the longest name has that two wire-form names are both at or below, in any case.
pub fn common_ancestor(left: &[u8], right: &[u8]) -> usize {
    left.len() - Walk::to_common(left, right, common_tail(left, right, is_same)).left_at
}

/// [`common_ancestor`], where it is written the same.
pub fn common_ancestor_as_written(left: &[u8], right: &[u8]) -> usize {
    left.len() - Walk::to_common(left, right, common_tail(left, right, |left, right| left == right)).left_at
}

/// Canonical order of wire-form names (RFC 4034 section 6.1): by label from the right, each as lower-case octets.
///
/// Most names that are compared are of one zone: the tail that they have in common is found first, and not looked at label by label.
pub fn canonical_cmp(left: &[u8], right: &[u8]) -> Ordering {
    let walk = Walk::to_common(left, right, common_tail(left, right, |left, right| left == right));
    match (walk.left_label, walk.right_label) {
        (Some(left_label), Some(right_label)) => {
            match cmp_labels(label_at(left, left_label), label_at(right, right_label)) {
                // They differ in case alone.
                Ordering::Equal => cmp_all_labels(left, right),
                order => order,
            }
        }
        (left_label, right_label) => left_label.is_some().cmp(&right_label.is_some()),
    }
}

/// Where two names begin to be the same, cut into labels in the same way; and the last label of each before that.
#[derive(Default)]
struct Walk {
    left_at: usize,
    right_at: usize,
    left_label: Option<u8>,
    right_label: Option<u8>,
}

impl Walk {
    /// `common` is how many octets at their ends are the same.
    fn to_common(left: &[u8], right: &[u8], common: usize) -> Walk {
        let mut walk = Walk::default();
        loop {
            let (left_rest, right_rest) = (left.len() - walk.left_at, right.len() - walk.right_at);
            if left_rest == right_rest && left_rest <= common {
                return walk;
            }
            let (name, at, label) = if left_rest >= right_rest {
                (left, &mut walk.left_at, &mut walk.left_label)
            } else {
                (right, &mut walk.right_at, &mut walk.right_label)
            };
            if name[*at] == 0 {
                return walk;
            }
            *label = Some(*at as u8);
            *at += 1 + usize::from(name[*at]);
        }
    }
}

fn cmp_all_labels(left: &[u8], right: &[u8]) -> Ordering {
    let starts = |name: &[u8]| {
        let (mut starts, mut count, mut at) = ([0u8; MAX_NAME / 2 + 1], 0, 0);
        while name[at] != 0 {
            starts[count] = at as u8;
            count += 1;
            at += 1 + usize::from(name[at]);
        }
        (starts, count)
    };
    let ((left_starts, left_count), (right_starts, right_count)) = (starts(left), starts(right));
    for back in 1..=left_count.min(right_count) {
        let left_label = label_at(left, left_starts[left_count - back]);
        let order = cmp_labels(left_label, label_at(right, right_starts[right_count - back]));
        if order.is_ne() {
            return order;
        }
    }
    left_count.cmp(&right_count)
}

/// How many octets at their ends are the same.
fn common_tail(left: &[u8], right: &[u8], is_same: impl Fn(&[u8], &[u8]) -> bool) -> usize {
    const STEP: usize = 8;
    let shorter = left.len().min(right.len());
    let (left, right) = (&left[left.len() - shorter..], &right[right.len() - shorter..]);
    let mut at = shorter;
    while at >= STEP && is_same(&left[at - STEP..at], &right[at - STEP..at]) {
        at -= STEP;
    }
    while at > 0 && is_same(&left[at - 1..at], &right[at - 1..at]) {
        at -= 1;
    }
    shorter - at
}

fn label_at(wire: &[u8], start: u8) -> &[u8] {
    let start = usize::from(start);
    &wire[start + 1..start + 1 + usize::from(wire[start])]
}

fn cmp_labels(left: &[u8], right: &[u8]) -> Ordering {
    let differ = left.iter().zip(right).find(|(left, right)| !left.eq_ignore_ascii_case(right));
    differ.map_or_else(
        || left.len().cmp(&right.len()),
        |(left, right)| left.to_ascii_lowercase().cmp(&right.to_ascii_lowercase()),
    )
}
