//! What the laboratory's mail servers present: keys and chains, right and wrong, as files for Postfix and as TLSA records.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXUPPER;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData, date_time_ymd};
use sha2::{Digest, Sha256};

use crate::common::succeed;

/// Where they are: danelaw watches one of the folders, Postfix reads the other.
pub struct Certificates {
    watched: PathBuf,
    presented: PathBuf,
}

/// A certificate with its key, and whoever issued it.
pub struct Made {
    pub key: KeyPair,
    /// In PEM, the server's own first.
    pub chain: Vec<String>,
}

/// Who issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    spki: Vec<u8>,
}

impl Authority {
    /// Two of one name are told apart by their keys alone.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, spki: key.subject_public_key_info(), issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, host: &str, when: When) -> Made {
        let key = KeyPair::generate().unwrap();
        let leaf = leaf(&[host.to_owned()], when).signed_by(&key, &self.issuer).unwrap();
        Made { key, chain: vec![leaf.pem(), self.pem.clone()] }
    }

    /// Its record as a trust anchor.
    pub fn record(&self) -> String {
        format!("2 1 1 {}", digest(&self.spki))
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    Now,
    Past,
}

fn leaf(hosts: &[String], when: When) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a mail server");
    if when == When::Past {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    params
}

fn digest(spki: &[u8]) -> String {
    HEXUPPER.encode(&Sha256::digest(spki))
}

impl Made {
    /// Issued by itself.
    pub fn alone(hosts: &[String], when: When) -> Made {
        Made::with(KeyPair::generate().unwrap(), hosts, when)
    }

    pub fn rsa(hosts: &[String]) -> Made {
        let pem = succeed("openssl", &["genpkey", "-quiet", "-algorithm", "RSA"]);
        Made::with(KeyPair::from_pem(&pem).unwrap(), hosts, When::Now)
    }

    fn with(key: KeyPair, hosts: &[String], when: When) -> Made {
        let chain = vec![leaf(hosts, when).self_signed(&key).unwrap().pem()];
        Made { key, chain }
    }

    /// Its record as the server's own.
    pub fn record(&self) -> String {
        format!("3 1 1 {}", digest(&self.key.subject_public_key_info()))
    }
}

impl Certificates {
    pub fn new(watched: &Path, presented: &Path) -> Certificates {
        Certificates { watched: watched.to_owned(), presented: presented.to_owned() }
    }

    /// danelaw sees it.
    pub fn watch(&self, name: &str, made: &Made) {
        fs::write(self.watched.join(format!("{name}.pem")), made.chain.concat()).unwrap();
    }

    /// The option by which a Postfix presents it.
    pub fn present(&self, name: &str, made: &Made) -> String {
        let path = self.presented.join(format!("{name}.pem"));
        fs::write(&path, made.key.serialize_pem() + &made.chain.concat()).unwrap();
        format!(" -o smtpd_tls_chain_files={}", path.display())
    }

    /// The option by which it presents the one or the other, as the client likes.
    pub fn present_both(&self, name: &str, one: &Made, other: &Made) -> String {
        let path = self.presented.join(format!("{name}.pem"));
        let text = [one, other].map(|made| made.key.serialize_pem() + &made.chain.concat()).concat();
        fs::write(&path, text).unwrap();
        format!(" -o smtpd_tls_chain_files={}", path.display())
    }
}
