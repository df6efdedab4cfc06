//! The process is killed at every point that laying down a certificate passes.

use std::os::unix::process::ExitStatusExt;

use super::*;

fn follow(state: &Path) {
    let chain = fs::read_to_string(state.join("chain")).unwrap();
    folder(state).store(&chain, &[name(HOST)].into()).unwrap();
    folder(state).make_next_key().unwrap();
}

/// Whether a key of the folder and a chain belong together.
fn is_pair(place: &Path, key: &str, chain: &str) -> bool {
    let (Ok(key), Ok(chain)) = (fs::read(place.join(key)), fs::read(place.join(chain))) else { return false };
    let Ok(chain) = crate::dane::Chain::parse(&chain) else { return false };
    keys::Key::read(&key).unwrap().is_of(chain.leaf().spki())
}

#[test]
fn a_crash_at_any_point_leaves_a_whole_pair_and_is_made_good() {
    if let Some(state) = std::env::var_os("DANELAW_TEST_CRASH") {
        return follow(Path::new(&state));
    }
    let root = tempfile::tempdir().unwrap();
    let (before, state, log) = (root.path().join("before"), root.path().join("state"), root.path().join("log"));
    let chain = first_and_next(&before);
    let run = |at: Option<usize>| {
        let _ = fs::remove_dir_all(&state);
        let _ = fs::remove_file(&log);
        assert!(Command::new("cp").arg("-a").args([&before, &state]).status().unwrap().success());
        fs::write(state.join("chain"), &chain).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "act::acme::tests::crashes::a_crash_at_any_point_leaves_a_whole_pair_and_is_made_good"]);
        child.env("DANELAW_TEST_CRASH", &state).env("DANELAW_CRASH_LOG", &log);
        child.envs(at.map(|at| ("DANELAW_CRASH_AT", at.to_string())));
        child.output().unwrap().status
    };
    assert!(run(None).success());
    let points = fs::read_to_string(&log).unwrap().lines().count();
    assert!(points > 40, "{points} points");
    let place = place(&state);
    let new = folder(&state).held().unwrap().unwrap();
    let mut seen = Vec::new();
    for at in 1..=points {
        assert_eq!(run(Some(at)).signal(), Some(9), "point {at}");
        let whole = is_pair(&place, "privkey.pem", "fullchain.pem");
        let unfinished = is_pair(&place, "privkey.pem", ".fullchain.pem.new")
            && fs::read_to_string(place.join(".fullchain.pem.new")).unwrap() == chain;
        assert!(whole || unfinished, "point {at}");
        seen.push((whole, unfinished));
        let held = folder(&state).held().unwrap().unwrap();
        assert_eq!(held == new, unfinished || fs::read_to_string(place.join("fullchain.pem")).unwrap() == chain);
        follow(&state);
        assert_eq!(folder(&state).held().unwrap(), Some(new.clone()), "point {at}");
        assert_eq!(listed(&place), ALL, "point {at}");
    }
    seen.dedup();
    assert_eq!(seen, [(true, false), (false, true), (true, false)], "each was seen, and in this order");
}
