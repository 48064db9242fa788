//! The way down: no signal is lost, and nothing is begun any more.

use crate::support::{Server, text};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::TcpStream;
use std::process::Child;

/// A pipe with no room left.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("set");
    while writer.write(&[b' '; 1 << 12]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("set");
    (reader, writer)
}

/// A thread of the process waits for room in a pipe.
fn waits_in_a_pipe(child: &Child) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("tasks");
    tasks.flatten().any(|task| {
        let waits = std::fs::read_to_string(task.path().join("wchan"));
        waits.is_ok_and(|at| at.contains("pipe_write"))
    })
}

/// No signal waits for a thread that takes it.
fn took_its_signals(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("status");
    status
        .lines()
        .any(|line| line.starts_with("ShdPnd:") && line.ends_with("\t0000000000000000"))
}

#[test]
fn a_signal_between_open_and_ready_is_obeyed() {
    let mut server = Server::unstarted(1);
    let (mut reader, writer) = full_pipe();
    // A first start tells its keys before it is ready, here to nobody who listens.
    server.spawn_to(writer.into());
    server.until("open", |server| waits_in_a_pipe(server.child()));
    server.terminate();
    server.until("told", |server| took_its_signals(server.child()));
    let listening = std::thread::spawn(move || {
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("read");
        told
    });
    assert_eq!(server.ended(), Some(0));
    let told = listening.join().expect("read");
    assert!(told.contains("access key"), "{told}");
    assert!(server.log().contains("shutting down"), "{}", server.log());
}

#[test]
fn on_the_way_down_nothing_is_begun_and_what_runs_may_end() {
    let mut server = Server::start();
    let mut form = TcpStream::connect(("127.0.0.1", server.s3)).expect("connected");
    form.write_all(
        b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=X\r\n\
          Content-Length: 4000\r\nExpect: 100-continue\r\n\r\n",
    )
    .expect("sent");
    let mut answer = [0; 12];
    form.read_exact(&mut answer).expect("asked for the body");
    assert_eq!(&answer, b"HTTP/1.1 100");
    server.terminate();
    server.until("ending", |server| {
        let ready = server.open("/health/ready");
        ready.is_some_and(|answer| answer.contains("\"ending\""))
    });
    for words in [
        &["key", "create"][..],
        &["keyring", "create", "late"],
        &["scrub", "start"],
        &["drive", "remove", "1"],
    ] {
        server.fails(words, 1, "shutting down");
    }
    let status = server.json(&["status"]);
    assert_eq!(text(&status, "/readiness/state"), "ending");
    drop(form);
    assert_eq!(server.ended(), Some(0));
}
