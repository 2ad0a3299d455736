//! Driver for redis-rs: the conversation with the harness.
//!
//! Requests come as lines of JSON on stdin; replies and events leave as lines of JSON on stdout, in any order. Every request runs in a
//! task of its own, so that a blocking command holds up nobody. What the requests do with redis-rs is in `client`, the sign-in in
//! `credentials`; `reply` describes values and errors.

mod client;
mod connections;
mod credentials;
mod reply;
mod transaction;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};

use client::Client;
use reply::Failure;

const PROTOCOL: u64 = 1;
const MAX_LINE: usize = 1 << 20; // bytes; the protocol's limit for one message
const CAPABILITIES: &[&str] = &[
    "credential:client-secret",
    "credential:access-key",
    "credential:managed-identity",
    "credential:certificate",
    "credential:workload-identity",
    "resp2",
    "resp3",
    "pubsub",
    "blocking",
    "events",
    "tls:custom-ca",
    "cluster",
    "transactions",
    "transactions:watch",
    "shared-provider",
];
const LIBRARIES: &[&str] = &["redis", "azure_identity", "azure_core", "tokio"]; // the first is the one under test
const LOCK_FILE: &str = include_str!("../Cargo.lock");

/// The provider renews 240 seconds before a token expires. With six minutes it renews after two; with four it would do nothing else.
const MIN_TOKEN_LIFETIME_MS: u64 = 360_000;

#[derive(Deserialize)]
pub struct Request {
    id: u64,
    op: String,
    #[serde(default)]
    protocol: u64,
    #[serde(default)]
    client: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    commands: Vec<Vec<String>>,
    #[serde(default)]
    watch: Vec<String>,
    #[serde(default)]
    provider_of: Option<String>,
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    entra: Entra,
    #[serde(default)]
    credential: Credential,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Cache {
    host: String,
    port: u16,
    ca_pem: Option<String>,
    cluster: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Entra {
    authority_host: String,
    tenant_id: String,
    ca_pem: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Credential {
    kind: String,
    client_id: String,
    client_secret: String,
    certificate_pem: String,
    token_file: PathBuf,
    access_key: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Options {
    resp: Option<u8>,
    connect_timeout_ms: Option<u64>,
    command_timeout_ms: Option<u64>,
    clock_rate: Option<u32>,
}

/// The protocol's stream.
#[derive(Clone)]
pub struct Output(Arc<Mutex<File>>);

impl Output {
    /// Keeps stdout for the protocol and sends whatever else is written to file descriptor 1 to stderr, by which library ever.
    fn take_stdout() -> io::Result<Self> {
        let kept = io::stdout().as_fd().try_clone_to_owned()?;
        // SAFETY: both descriptors are those of the process, open since its start.
        if unsafe { libc::dup2(2, 1) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Output(Arc::new(Mutex::new(File::from(kept)))))
    }

    /// Writes one line. A line that cannot be written is lost: the harness is gone then, and stdin ends with it.
    pub fn send(&self, message: Value) {
        let mut line = message.to_string();
        if line.len() >= MAX_LINE {
            let problem = format!("the line has {} bytes, the protocol allows {MAX_LINE}", line.len());
            eprintln!("not sent: {problem}");
            if message["id"].is_null() {
                return;
            }
            line = json!({"id": message["id"], "ok": false, "error": {"kind": "unsupported", "message": problem}}).to_string();
        }
        line.push('\n');
        if let Err(error) = self.0.lock().unwrap().write_all(line.as_bytes()) {
            eprintln!("write a line: {error}");
        }
    }
}

/// What the library logs, such as that it has given up the renewal of a token, is for people.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.target().starts_with("redis")
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            eprintln!("{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

struct Driver {
    out: Output,
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

fn main() -> io::Result<()> {
    let out = Output::take_stdout()?;
    log::set_logger(&Logger).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    rustls::crypto::ring::default_provider().install_default().expect("the only provider");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let driver = Arc::new(Driver { out: out.clone(), clients: Mutex::default() });
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let id = serde_json::from_slice::<Value>(&line).map_or(Value::Null, |message| message["id"].clone());
                if id.is_u64() {
                    out.send(json!({"id": id, "ok": false, "error": Failure::config(format!("the request cannot be read: {error}"))}));
                } else {
                    eprintln!("not a request, ignored: {error}");
                }
                continue;
            }
        };
        if request.op == "shutdown" {
            out.send(json!({"id": request.id, "ok": true}));
            break;
        }
        let driver = driver.clone();
        runtime.spawn(async move {
            let id = request.id;
            let answer = match driver.answer(request).await {
                Ok(mut answer) => {
                    answer["id"] = json!(id);
                    answer["ok"] = json!(true);
                    answer
                }
                Err(failure) => json!({"id": id, "ok": false, "error": failure}),
            };
            driver.out.send(answer);
        });
    }
    runtime.shutdown_background(); // a command that still blocks must not keep the process alive
    Ok(())
}

impl Driver {
    async fn answer(&self, request: Request) -> Result<Value, Failure> {
        match request.op.as_str() {
            "hello" if request.protocol != PROTOCOL => {
                Err(Failure::unsupported(format!("this driver speaks protocol {PROTOCOL}, not {}", request.protocol)))
            }
            "hello" => Ok(hello()),
            "open" => self.open(request).await,
            "command" => {
                let reply = self.client(&request.client)?.command(&request.args).await?;
                Ok(json!({"reply": reply::typed(&reply)}))
            }
            "subscribe" => {
                self.client(&request.client)?.subscribe(&request.channels).await?;
                Ok(json!({}))
            }
            "begin" => {
                self.client(&request.client)?.begin(request.commands, request.watch).await?;
                Ok(json!({}))
            }
            "exec" => {
                let reply = self.client(&request.client)?.exec().await?;
                Ok(json!({"reply": reply::typed(&reply)}))
            }
            "close" => {
                self.client(&request.client)?.close();
                self.clients.lock().unwrap().remove(&request.client);
                Ok(json!({}))
            }
            op => Err(Failure::unsupported(format!("op {op:?}: expected hello, open, command, subscribe, begin, exec, close or shutdown"))),
        }
    }

    async fn open(&self, request: Request) -> Result<Value, Failure> {
        let name = request.client.clone();
        let taken = || Failure::config(format!("client {name:?} is open already: close it first"));
        if self.clients.lock().unwrap().contains_key(&name) {
            return Err(taken());
        }
        let shared = match &request.provider_of {
            Some(other) => Some(self.client(other)?),
            None => None,
        };
        let client = Client::open(request, self.out.clone(), shared.as_deref()).await?;
        let mut clients = self.clients.lock().unwrap();
        if clients.contains_key(&name) {
            return Err(taken());
        }
        clients.insert(name, Arc::new(client));
        Ok(json!({}))
    }

    fn client(&self, name: &str) -> Result<Arc<Client>, Failure> {
        self.clients.lock().unwrap().get(name).cloned().ok_or_else(|| Failure::closed(format!("no client {name:?} is open")))
    }
}

fn hello() -> Value {
    let libraries: Vec<Value> = LIBRARIES.iter().map(|name| json!({"name": name, "version": locked_version(name)})).collect();
    json!({
        "protocol": PROTOCOL,
        "driver": {
            "name": "redis-rs",
            "language": "rust",
            "libraries": libraries,
            "runtime": env!("DRIVER_RUNTIME"),
            "os": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        },
        "capabilities": CAPABILITIES,
        "limits": {"min_token_lifetime_ms": MIN_TOKEN_LIFETIME_MS},
    })
}

/// The version that was linked: the driver is built with --locked.
fn locked_version(name: &str) -> &'static str {
    let entry = format!("\nname = \"{name}\"\nversion = \"");
    let (_, rest) = LOCK_FILE.split_once(&entry).expect("the libraries are locked");
    rest.split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        for name in LIBRARIES {
            assert!(locked_version(name).split('.').count() >= 3, "{name}: {}", locked_version(name));
        }
    }
}
