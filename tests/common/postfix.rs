//! A Postfix of a test's own: its folders, and of its configuration what every one of them has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::succeed;

/// Lays one out in a folder that is there: `main` and `services` come to what each of them has. It writes `log`.
pub fn lay(folder: &Path, main: &str, services: &str) {
    // Its processes run as another user, and begin at the root.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.display();
    for name in ["etc", "queue", "data"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    succeed("chown", &["postfix", &format!("{path}/data")]);
    let common = format!(
        "compatibility_level = 3.6\nqueue_directory = {path}/queue\ndata_directory = {path}/data\nmail_owner = postfix\n\
         setgid_group = postdrop\nmaillog_file = {path}/log\nmaillog_file_prefixes = {path}\nalias_maps =\n"
    );
    fs::write(folder.join("etc/main.cf"), common + main).unwrap();
    let common = "postlog unix-dgram n - n - 1 postlogd\ntlsmgr unix - - n 1000? 1 tlsmgr\nanvil unix - - n - 1 anvil\n\
                  cleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\nproxymap unix - - n - - proxymap\n";
    fs::write(folder.join("etc/master.cf"), services.to_owned() + common).unwrap();
    succeed("postconf", &["-c", &format!("{path}/etc"), "mail_version"]);
}

/// What it has logged.
pub fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
