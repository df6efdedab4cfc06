//! A zone's contents as they are put together: what its source says, and over it what came by update.

use super::zone::{Zone, mail_domains};
use crate::config::SigningMode;
use crate::dns::{Name, RRset, Rtype};
use crate::zone::{Contents, Layer, serial};

impl Zone {
    /// Takes what its source says now, which is known to be good.
    pub fn take(&mut self, said: Contents, mode: SigningMode) {
        self.mode = Some(mode);
        self.mail_domains_changed = true;
        self.put(Some(said), mode);
        self.changed = true;
    }

    pub(super) fn put(&mut self, said: Option<Contents>, mode: SigningMode) {
        self.verified = said.is_some() && mode == SigningMode::Presigned;
        self.said = said;
        self.compose();
    }

    /// Takes what came by update before.
    pub fn take_layer(&mut self, layer: Layer) {
        self.layer = layer;
        self.mail_domains_changed = true;
        self.compose();
        self.changed = true;
    }

    /// Takes an update: from now on these RRsets are so, the empty ones gone.
    pub fn update(&mut self, wanted: &[(Name, RRset)]) {
        let (Some(said), Some(mut contents)) = (&self.said, self.contents.take()) else { return };
        for (owner, rrset) in wanted {
            self.layer.want(said, owner, rrset);
            contents.replace(owner, rrset.clone());
            self.aside.retain(|(other, rtype)| (other, *rtype) != (owner, rrset.rtype));
        }
        let has = |rtypes: &[Rtype]| wanted.iter().any(|(_, rrset)| rtypes.contains(&rrset.rtype));
        if has(&[Rtype::NS, Rtype::DNAME]) {
            self.mail_domains = mail_domains(&contents);
        }
        for (owner, _) in wanted.iter().filter(|(_, rrset)| rrset.rtype == Rtype::MX) {
            self.look_at_mail_domain(&contents, owner);
        }
        self.contents = Some(contents);
        self.changed = true;
        if self.aside.iter().any(|(owner, _)| wanted.iter().any(|(changed, _)| changed == owner)) {
            // What was in its way may have gone.
            self.compose();
        }
    }

    /// What was set aside and can't stand beside what comes now: it is given up, since the newer word counts after a restart, too.
    pub fn displaced(&self, wanted: &[(Name, RRset)]) -> Vec<(Name, RRset)> {
        let Some(contents) = &self.contents else { return Vec::new() };
        let is_cname = |rtype| rtype == Rtype::CNAME;
        let displaces = |owner: &Name, rtype: Rtype| {
            let mut here = wanted.iter().filter(|(changed, _)| changed == owner).map(|(_, rrset)| rrset);
            here.clone().all(|rrset| rrset.rtype != rtype)
                && here.any(|rrset| !rrset.rdatas.is_empty() && is_cname(rrset.rtype) != is_cname(rtype))
        };
        let displaced =
            self.aside.iter().filter(|(owner, rtype)| !contents.has(owner, *rtype) && displaces(owner, *rtype));
        displaced.map(|(owner, rtype)| (owner.clone(), RRset { rtype: *rtype, ttl: 0, rdatas: Vec::new() })).collect()
    }

    /// Its contents as prerequisites look at them: with the serial that is served, or after a change that is not served yet the next one.
    pub fn with_its_serial(&self) -> Option<Contents> {
        let (mut contents, published) = (self.contents.clone()?, self.published()?);
        let mut soa = contents.soa()?;
        let served = if self.changed { serial::next(Some(published.serial), 0) } else { published.serial };
        soa.rdatas = soa.rdatas.iter().map(|rdata| serial::with_serial(rdata, served)).collect();
        let origin = self.origin.clone();
        contents.replace(&origin, soa);
        Some(contents)
    }

    /// Forgets of what came by update what the source has now; gives the RRsets. What is served stays the same.
    pub fn settle_layer(&mut self) -> Vec<(Name, Rtype)> {
        if !self.takes_updates() {
            return Vec::new();
        }
        self.said.as_ref().map(|said| self.layer.settle(said)).unwrap_or_default()
    }

    /// Whether it may be changed by update: not where its records or their signatures are others'.
    pub fn takes_updates(&self) -> bool {
        self.source.file().is_some() && !self.is_presigned()
    }

    /// Puts together what the source says and what came by update.
    fn compose(&mut self) {
        let composed = self.said.as_ref().map(|said| match self.takes_updates() {
            true => self.layer.over(said),
            false => (said.clone(), self.layer.sets().map(|(owner, rtype, _)| (owner.clone(), rtype)).collect()),
        });
        (self.contents, self.aside) = composed.map_or((None, Vec::new()), |(zone, aside)| (Some(zone), aside));
        if self.mail_domains_changed || !self.layer.is_empty() {
            self.mail_domains = self.contents.as_ref().map(mail_domains).unwrap_or_default();
            self.mail_domains_changed = false;
        }
        debug_assert_eq!(self.mail_domains, self.contents.as_ref().map(mail_domains).unwrap_or_default());
    }
}
