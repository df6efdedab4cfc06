//! What a hook gets and what it doesn't, and that nothing of it outlives its time.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{Mode, OFlags};
use rustix::process::kill_process;

use super::*;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(400);

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

async fn script(text: &str, limit: Duration) -> Result<Output, HookError> {
    run(&[command(&["sh", "-c", text])], limit).await
}

fn numbers(text: &str) -> Vec<i32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether there is such a process; one that waits to be reaped is gone.
fn is_there(number: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_hook_gets_a_path_three_descriptors_and_a_group_of_its_own() {
    // One that whoever started danelaw forgot to close.
    let inherited = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
    assert!(inherited.as_raw_fd() > 2);
    let said = async |words: &[&str]| run(&[command(words)], LONG).await.unwrap().text;
    assert_eq!(said(&["env"]).await, format!("PATH={PATH}\n"));
    // The last one is that by which it looks.
    assert_eq!(said(&["ls", "/proc/self/fd"]).await, "0\n1\n2\n3\n");
    assert_eq!(said(&["readlink", "/proc/self/fd/0", "/proc/self/cwd"]).await, "/dev/null\n/\n");
    let stat = said(&["cat", "/proc/self/stat"]).await;
    let words: Vec<&str> = stat.split(' ').collect();
    assert_eq!(words[0], words[4], "its number is its group's");
    assert_eq!(said(&["printf", "%s|", "$HOME", "a b", ";*"]).await, "$HOME|a b|;*|", "no shell reads it");
    drop(inherited);
}

#[tokio::test]
async fn commands_run_one_after_the_other_until_one_fails() {
    let out = run(&[command(&["echo", "one"]), command(&["sh", "-c", "echo two >&2"])], LONG).await.unwrap();
    assert_eq!(out, Output { text: "one\ntwo\n".to_owned(), cut: false });
    let commands = [&["echo", "one"][..], &["sh", "-c", "echo wrong; exit 3"], &["echo", "never"]].map(command);
    let error = run(&commands, LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "sh failed (exit status: 3); the last that it printed: wrong");
    assert!(matches!(error, HookError::Failed { output, .. } if output.text == "one\nwrong\n"));
    let error = script("kill -9 $$", LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "sh failed (signal: 9 (SIGKILL))");
    assert_eq!(run(&[], LONG).await.unwrap(), Output::default());
}

#[tokio::test]
async fn what_can_t_be_run_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        // Written by another process: a child of another test's can't hold it open for writing while it is run.
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", "printf %s \"$0\" > \"$1\"", text]).arg(&path).status().unwrap().success());
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let of = async |program: &str| run(&[vec![program.to_owned()]], LONG).await.unwrap_err();
    assert!(matches!(of("no-such-program").await, HookError::Missing(_)));
    assert!(matches!(of("/no/such/program").await, HookError::Missing(_)));
    assert!(matches!(of(&file("interpreter", "#!/no/such/thing\n", 0o755)).await, HookError::Missing(_)));
    assert!(matches!(of(&file("plain", "#!/bin/sh\n", 0o644)).await, HookError::NotExecutable { .. }));
    assert!(matches!(of(&file("text", "touch should-not-run\n", 0o755)).await, HookError::NotExecutable { .. }));
    assert!(matches!(of(folder.path().to_str().unwrap()).await, HookError::NotExecutable { .. }));
    assert!(matches!(of("./here").await, HookError::Relative(_)));
    assert!(matches!(of("").await, HookError::Empty));
    assert!(matches!(run(&[Vec::new()], LONG).await, Err(HookError::Empty)));
}

#[tokio::test]
async fn the_last_of_what_is_printed_is_kept() {
    let out = script("head -c 1000000 /dev/zero | tr '\\0' a; printf end", LONG).await.unwrap();
    assert_eq!((out.text.len(), out.cut), (OUTPUT_MAX, true));
    assert!(out.text.starts_with("aaa") && out.text.ends_with("aend"));
    let out = script("head -c 16383 /dev/zero | tr '\\0' a; printf e", LONG).await.unwrap();
    assert_eq!((out.text.len(), out.cut), (OUTPUT_MAX, false));

    let mut kept = Kept::default();
    (0..OUTPUT_MAX).for_each(|_| kept.take("é".as_bytes()));
    kept.take(b"x");
    let out = kept.output();
    assert_eq!((out.text.chars().next(), out.text.len()), (Some('é'), OUTPUT_MAX - 1), "no half of a character");
}

#[tokio::test]
async fn when_the_time_is_over_nothing_of_the_group_is_left() {
    let begun = Instant::now();
    let tree = "echo $$; sleep 300 & echo $!; sh -c 'echo $$; sleep 300 & echo $!; wait' & wait";
    let error = script(tree, SHORT).await.unwrap_err();
    assert!(begun.elapsed() < GRACE, "SIGTERM is enough for them");
    assert!(error.to_string().starts_with("sh had not ended after 0.4 s"), "{error}");
    let HookError::TimeOver { output, .. } = error else { panic!("{error}") };
    let numbers = numbers(&output.text);
    assert_eq!(numbers.len(), 4, "{output:?}");
    assert!(!numbers.into_iter().any(is_there));
    assert!(matches!(run(&[command(&["yes"])], SHORT).await, Err(HookError::TimeOver { .. })));
}

#[tokio::test]
async fn who_does_not_listen_to_sigterm_is_killed() {
    let begun = Instant::now();
    let error = script("trap '' TERM; echo $$; sleep 300 & echo $!; wait; wait", SHORT).await.unwrap_err();
    let HookError::TimeOver { output, .. } = error else { panic!("{error}") };
    let numbers = numbers(&output.text);
    assert_eq!(numbers.len(), 2, "{output:?}");
    assert!(!numbers.into_iter().any(is_there));
    assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE * 2);
}

#[tokio::test]
async fn what_a_command_leaves_in_its_group_may_finish_and_ends_then() {
    let begun = Instant::now();
    let out = script("{ sleep 1; echo finished; } & echo begun", LONG).await.unwrap();
    assert_eq!(out.text, "begun\nfinished\n");
    assert!(begun.elapsed() < GRACE);
    let out = script("sleep 300 & echo $!", LONG).await.unwrap();
    assert!(!is_there(numbers(&out.text)[0]), "{out:?}");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipe_open_is_neither_waited_for_nor_killed() {
    let begun = Instant::now();
    let out = script("setsid sh -c 'echo $$; exec sleep 300' & sleep 1; echo done", LONG).await.unwrap();
    assert!(begun.elapsed() < GRACE);
    assert!(out.text.ends_with("done\n"), "{out:?}");
    let daemon = numbers(&out.text)[0];
    assert!(is_there(daemon));
    kill_process(Pid::from_raw(daemon).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_hook_that_nobody_waits_for_any_more_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers");
    let text = format!("(echo $$; sleep 300 & echo $!; wait) > {}; wait", file.display());
    assert!(timeout(Duration::from_secs(1), script(&text, LONG)).await.is_err());
    let numbers = numbers(&fs::read_to_string(&file).unwrap());
    assert_eq!(numbers.len(), 2);
    let until = Instant::now() + GRACE;
    while numbers.iter().any(|number| is_there(*number)) {
        assert!(Instant::now() < until, "{numbers:?}");
        sleep(LOOK).await;
    }
}
