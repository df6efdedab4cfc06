//! stub
use crate::dns::Name;
use crate::update::Grant;
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updater {
    /// x
    pub key: Name,
    /// x
    pub zones: Option<Vec<Name>>,
    /// x
    pub grant: Grant,
}
impl Updater {
    /// x
    pub fn may_update(&self, zone: &Name, _peer: std::net::IpAddr, key: &Name) -> bool {
        self.key == *key && self.zones.as_ref().is_none_or(|z| z.contains(zone))
    }
}
