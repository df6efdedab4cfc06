//! The process is killed at every point that an installation passes.

use std::os::unix::process::ExitStatusExt;

use super::*;

const SCRIPT: [&str; 5] = ["stage one", "install one", "stage two", "install two", "retire one"];

fn follow(deployed: &Path, pairs: &BTreeMap<String, (String, String)>) {
    for step in SCRIPT {
        let (step, id) = step.split_once(' ').unwrap();
        match step {
            "stage" => drop(stage(deployed, &host(), id, &material_of(&[&pairs[id]])).unwrap()),
            "install" => drop(install(deployed, &host(), id).unwrap()),
            _ => retire(deployed, &host(), id).unwrap(),
        }
    }
}

#[test]
fn a_crash_at_any_point_leaves_a_whole_version_and_is_made_good() {
    let pairs_in = |folder: &Path| -> BTreeMap<String, (String, String)> {
        let text = |name: String| fs::read_to_string(folder.join(name)).unwrap();
        ["one", "two"].map(|id| (id.to_owned(), (text(format!("{id}.key")), text(format!("{id}.pem"))))).into()
    };
    if let Some(folder) = std::env::var_os("DANELAW_TEST_CRASH") {
        let folder = Path::new(&folder);
        return follow(&folder.join("deployed"), &pairs_in(folder));
    }
    let (folder, deployed) = place();
    for id in ["one", "two"] {
        let (key, chain) = made();
        fs::write(folder.path().join(format!("{id}.key")), key).unwrap();
        fs::write(folder.path().join(format!("{id}.pem")), chain).unwrap();
    }
    let log = folder.path().join("log");
    let run = |at: Option<usize>| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "act::install::tests::crashes::a_crash_at_any_point_leaves_a_whole_version_and_is_made_good",
        ]);
        child.env("DANELAW_TEST_CRASH", folder.path()).env("DANELAW_CRASH_LOG", &log);
        child.envs(at.map(|at| ("DANELAW_CRASH_AT", at.to_string())));
        let _ = fs::remove_dir_all(&deployed);
        let _ = fs::remove_file(&log);
        child.output().unwrap().status
    };
    assert!(run(None).success());
    let points = fs::read_to_string(&log).unwrap().lines().count();
    assert!(points > 60, "{points} points");
    let pairs = pairs_in(folder.path());
    let live = deployed.join(HOST);
    let mut held = Vec::new();
    for at in 1..=points {
        assert_eq!(run(Some(at)).signal(), Some(9), "point {at}");
        if fs::symlink_metadata(&live).is_ok() {
            let text = |name: &str| fs::read_to_string(live.join(name)).unwrap();
            let combined = text("combined.pem");
            assert_eq!(combined, text("privkey.pem") + &text("fullchain.pem"), "point {at}");
            held.push(pairs.iter().find(|(_, pair)| combined.starts_with(&pair.0)).unwrap().0.clone());
        }
        // What is staged is whole, too.
        for id in staged(&deployed, &host()).unwrap() {
            let staged = deployed.join(".versions").join(HOST).join(id);
            assert_eq!(names(&staged), FILES, "point {at}");
        }
        follow_after_crash(&deployed, &pairs, at);
    }
    held.dedup();
    assert_eq!(held, ["one", "two"], "each was seen, and the first never came back");
}

fn follow_after_crash(deployed: &Path, pairs: &BTreeMap<String, (String, String)>, at: usize) {
    put(deployed, "two", &pairs["two"]);
    retire(deployed, &host(), "one").unwrap();
    let key = fs::read_to_string(deployed.join(HOST).join("privkey.pem")).unwrap();
    assert_eq!(key, pairs["two"].0, "point {at}");
    assert_eq!(names(deployed), [".installed", ".versions", HOST], "point {at}");
    assert_eq!(names(&deployed.join(".versions").join(HOST)), ["two"], "point {at}");
}
