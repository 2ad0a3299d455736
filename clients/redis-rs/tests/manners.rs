//! The driver's manners, without a cache or an issuer. What the library does against a cache is the scenarios' subject.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(30); // the bound of everything that must happen

struct Driver {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Driver {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_driver")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Driver { stdin: process.stdin.take(), process, lines }
    }

    fn send(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn next(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(LONG).expect("a line")).expect("JSON")
    }

    fn ask(&mut self, request: Value) -> Value {
        self.send(&request.to_string());
        self.next()
    }

    fn refused(&mut self, request: Value, kind: &str) {
        let reply = self.ask(request.clone());
        assert_eq!((&reply["id"], &reply["ok"], &reply["error"]["kind"]), (&request["id"], &json!(false), &json!(kind)), "{reply}");
    }

    /// How it ended; all that it still had to say has been read then.
    fn end(mut self) -> Option<i32> {
        let code = self.process.wait().unwrap().code();
        assert_eq!(self.lines.recv_timeout(LONG).ok(), None);
        code
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill(); // fails if it has ended
    }
}

fn open(id: u64, credential: Value, port: u16) -> Value {
    json!({
        "id": id, "op": "open", "client": "c", "credential": credential, "scopes": ["https://redis.azure.com/.default"],
        "cache": {"host": "127.0.0.1", "port": port},
        "entra": {"authority_host": format!("https://127.0.0.1:{}", closed_port()), "tenant_id": "tenant"},
        "options": {"connect_timeout_ms": 300},
    })
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn hello_tells_what_client_yaml_says() {
    let reply = Driver::start().ask(json!({"id": 1, "op": "hello", "protocol": 1, "harness": "test"}));
    assert_eq!((&reply["ok"], &reply["protocol"]), (&json!(true), &json!(1)), "{reply}");
    assert_eq!(reply["driver"]["libraries"][0]["name"], "redis");
    assert!(reply["driver"]["runtime"].as_str().unwrap().starts_with("rustc 1."), "{reply}");
    let (_, pinned) = include_str!("../client.yaml").split_once("\ncapabilities:\n").unwrap();
    let pinned: Vec<&str> = pinned.lines().map(|line| line.trim_start_matches("  - ")).collect();
    assert_eq!(reply["capabilities"], json!(pinned));
    assert_eq!(reply["limits"]["min_token_lifetime_ms"], 360_000);
}

#[test]
fn what_it_does_not_know_it_refuses() {
    let mut driver = Driver::start();
    driver.refused(json!({"id": 1, "op": "hello", "protocol": 2}), "unsupported");
    driver.refused(json!({"id": 2, "op": "dance"}), "unsupported");
    driver.refused(open(3, json!({"kind": "smile"}), 1), "unsupported");
    driver.refused(json!({"id": 4, "op": "command", "client": "c", "args": ["PING"]}), "closed");
    driver.refused(json!({"id": 5, "op": "subscribe", "client": "c", "channels": ["news"]}), "closed");
    driver.refused(json!({"id": 6, "op": "close", "client": "c"}), "closed");
    driver.refused(json!({"id": 7, "op": "begin", "client": "c", "commands": [["PING"]]}), "closed");
    driver.refused(json!({"id": 8, "op": "exec", "client": "c"}), "closed");
    driver.refused(json!({"id": 9, "op": "command", "client": 7}), "config");
    let mut shares = open(10, json!({"kind": "managed-identity"}), 1);
    shares["provider_of"] = json!("nobody");
    driver.refused(shares, "closed");
}

#[test]
fn an_open_that_fails_says_why_and_leaves_no_client() {
    let mut driver = Driver::start();
    driver.refused(open(1, json!({"kind": "access-key", "access_key": "secret"}), closed_port()), "network");
    driver.refused(json!({"id": 2, "op": "close", "client": "c"}), "closed");
}

#[test]
fn a_request_that_waits_holds_up_neither_others_nor_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut driver = Driver::start();
    let mut request = open(1, json!({"kind": "access-key", "access_key": "secret"}), silent.local_addr().unwrap().port());
    request["options"]["connect_timeout_ms"] = json!(600_000);
    driver.send(&request.to_string());
    driver.refused(json!({"id": 2, "op": "dance"}), "unsupported");
    assert_eq!(driver.ask(json!({"id": 3, "op": "shutdown"})), json!({"id": 3, "ok": true}));
    assert_eq!(driver.end(), Some(0));
}

#[test]
fn lines_that_are_no_requests_are_skipped_and_the_end_of_stdin_is_the_end() {
    let mut driver = Driver::start();
    for line in ["{broken", "[1]", "", r#"{"op":"hello"}"#] {
        driver.send(line);
    }
    assert_eq!(driver.ask(json!({"id": 9, "op": "hello", "protocol": 1}))["id"], 9);
    driver.stdin = None;
    assert_eq!(driver.end(), Some(0));
}
