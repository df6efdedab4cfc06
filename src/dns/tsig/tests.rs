//! RFC 8945 rule by rule.
