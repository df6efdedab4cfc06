//! Configurations of the other servers: NSD for the zone above and as the second server of the mail domain, unbound, and two Postfix.

use std::net::SocketAddr;
use std::path::Path;

use super::house::{HOST, ZONE};

/// NSD at an address. `zone` are the keys of its one zone.
pub fn nsd(folder: &Path, address: &str, zone: &str) -> String {
    let folder = folder.display();
    format!(
        "server:\n  ip-address: {address}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
         pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  xfrdir: \"{folder}\"\n  \
         zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  verbosity: 2\n\
         remote-control:\n  control-enable: yes\n  control-interface: {folder}/control\nzone:\n{zone}"
    )
}

/// Who validates from the zone above on, and keeps what it has as long as the TTL says.
pub fn unbound(address: &str, (above, server): (&str, &str), anchor: &Path) -> String {
    format!(
        "server:\n  directory: \"\"\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
         interface: {address}\n  access-control: 0.0.0.0/0 allow\n  module-config: \"validator iterator\"\n  \
         do-not-query-localhost: no\n  trust-anchor-file: \"{}\"\n  val-log-level: 2\n\
         remote-control:\n  control-enable: no\nstub-zone:\n  name: \"{above}\"\n  stub-addr: {server}\n",
        anchor.display()
    )
}

/// The receiving Postfix at both addresses: `main.cf` and its services. What it takes it throws away.
pub fn receiver(addresses: [SocketAddr; 2], chain_files: &str) -> (String, String) {
    let main = format!(
        "myhostname = {HOST}\nmydestination = {ZONE}\nmynetworks =\ninet_protocols = all\nlocal_recipient_maps =\n\
         local_transport = discard:\nsmtpd_peername_lookup = no\nsmtpd_relay_restrictions = reject_unauth_destination\n\
         smtpd_tls_security_level = may\nsmtpd_tls_loglevel = 1\nsmtpd_tls_chain_files = {chain_files}\n"
    );
    let services = addresses.map(|address| format!("{address} inet n - n - - smtpd\n")).concat();
    (main, services + QUEUE + "discard unix - - n - - discard\n")
}

/// The sending Postfix: each mail goes out over a connection of its own, or waits for longer than any test.
pub fn sender(address: SocketAddr) -> (String, String) {
    let main = "myhostname = sender.example\nmydestination =\nmynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\n\
                inet_protocols = all\nsmtpd_peername_lookup = no\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
                smtp_host_lookup = dns\nsmtp_dns_support_level = dnssec\nsmtp_tls_security_level = dane\n\
                smtp_tls_loglevel = 1\nsmtp_connection_cache_on_demand = no\n\
                smtp_destination_concurrency_failed_cohort_limit = 1000\n";
    let services = format!("{address} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n");
    (main.to_owned(), services + QUEUE)
}

/// What has a queue needs these.
const QUEUE: &str = "qmgr unix n - n 300 1 qmgr\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
                     trace unix - - n - 0 bounce\nerror unix - - n - - error\nretry unix - - n - - error\n";
