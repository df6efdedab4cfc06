//! DoT, DoH and DoQ.
