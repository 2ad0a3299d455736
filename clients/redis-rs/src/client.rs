//! What an application does with redis-rs: open a client, run commands, subscribe, close.
//!
//! A client is wired as the library's documentation of `redis::entra_id` has it: an `EntraIdCredentialsProvider` that is started, and
//! handed to the configuration of a `ConnectionManager`, or to the builder of a cluster's client, with the defaults of all of them.
//! Signing in, renewing the token, sending AUTH, reconnecting and retrying are the library's alone. Nothing here helps it.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::ConnectionLike;
use redis::auth::StreamingCredentialsProvider;
use redis::{EntraIdCredentialsProvider, IntoConnectionInfo, Msg, ProtocolVersion, RetryConfig, TlsCertificates, Value};
use serde_json::json;
use tokio::sync::watch;

use crate::connections::{Connections, Settings, Single};
use crate::reply::Failure;
use crate::transaction::Transaction;
use crate::{Output, Request, credentials};

// The library's own, in milliseconds (DEFAULT_CONNECTION_TIMEOUT and DEFAULT_RESPONSE_TIMEOUT): time on the network stays as long as it
// is, also where this process's clock is faster.
const DEFAULT_CONNECT_TIMEOUT_MS: u64 = 1000;
const DEFAULT_RESPONSE_TIMEOUT_MS: u64 = 500;

// These wait at the server for as long as they say, so that they get a connection of their own without a timeout.
const BLOCKING: &[&str] = &["BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"];

pub struct Client {
    name: String,
    out: Output,
    resp: Option<u8>,
    settings: Settings,
    connections: Connections,
    subscriber: tokio::sync::Mutex<Option<Connections>>,
    transaction: Mutex<Option<Transaction>>,
    closed: watch::Sender<bool>,
}

impl Client {
    /// Opens a client, with the credentials provider of another one where that is given.
    pub async fn open(request: Request, out: Output, shared: Option<&Client>) -> Result<Self, Failure> {
        let Request { client: name, cache, entra, credential, scopes, options, .. } = request;
        let rate = u64::from(options.clock_rate.unwrap_or(1));
        let timeout = |given: Option<u64>, default: u64| Duration::from_millis(given.unwrap_or(default * rate));
        let info = format!("rediss://{}:{}", cache.host, cache.port).into_connection_info()?;
        let mut settings = Settings {
            info,
            certificates: TlsCertificates { client_tls: None, root_cert: cache.ca_pem.map(String::into_bytes) },
            clustered: cache.cluster,
            connect_timeout: timeout(options.connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS),
            response_timeout: timeout(options.command_timeout_ms, DEFAULT_RESPONSE_TIMEOUT_MS),
            provider: None,
        };
        if credential.kind == "access-key" {
            let redis = settings.info.redis_settings().clone().set_password(&credential.access_key);
            settings.info = settings.info.set_redis_settings(redis);
        } else {
            let provider = match shared.and_then(|other| other.settings.provider.clone()) {
                Some(provider) => provider,
                None => {
                    let mut provider = credentials::provider(&entra, credential, scopes)?;
                    provider.start(RetryConfig::default());
                    provider
                }
            };
            report_errors(&provider, name.clone(), out.clone());
            settings.provider = Some(provider);
        }
        let settings = match options.resp {
            Some(3) => settings.with_protocol(ProtocolVersion::RESP3),
            Some(2) => settings.with_protocol(ProtocolVersion::RESP2),
            _ => settings,
        };
        let connections = settings.connect(delivery(&name, &out)).await?;
        let closed = watch::Sender::new(false);
        let resp = options.resp;
        Ok(Client {
            name,
            out,
            resp,
            settings,
            connections,
            subscriber: tokio::sync::Mutex::default(),
            transaction: Mutex::default(),
            closed,
        })
    }

    pub async fn command(&self, args: &[String]) -> Result<Value, Failure> {
        let Some(name) = args.first() else {
            return Err(Failure::config("args: expected a command, got none".into()));
        };
        let mut command = redis::cmd(name);
        command.arg(&args[1..]);
        let blocks = BLOCKING.contains(&name.to_uppercase().as_str());
        self.until_closed(async {
            match &self.connections {
                Connections::Cluster(connection) => Ok(command.query_async(&mut connection.clone()).await?),
                Connections::Single(single) if blocks => {
                    let mut own = single.client.get_multiplexed_async_connection_with_config(&self.settings.connection(None)).await?;
                    Ok(own.req_packed_command(&command).await?)
                }
                Connections::Single(single) => Ok(command.query_async(&mut single.manager.clone()).await?),
            }
        })
        .await
    }

    /// With RESP3 messages come on the connection that commands use, as the library's section "RESP3 pubsub" has it. With RESP2 a
    /// subscription is an `aio::PubSub`, for which there is no credentials provider. Where the application leaves the protocol to the
    /// library, whose default is RESP2, it takes RESP3 for a connection to subscribe with, since only that can be handed the provider.
    pub async fn subscribe(&self, channels: &[String]) -> Result<(), Failure> {
        self.until_closed(async {
            match (self.resp, &self.connections) {
                (Some(2), Connections::Single(single)) => self.subscribe_resp2(single, channels).await,
                (Some(_), connections) => Ok(connections.subscribe(channels).await?),
                (None, _) => {
                    let mut subscriber = self.subscriber.lock().await;
                    if subscriber.is_none() {
                        let settings = self.settings.clone().with_protocol(ProtocolVersion::RESP3);
                        *subscriber = Some(settings.connect(delivery(&self.name, &self.out)).await?);
                    }
                    Ok(subscriber.as_ref().expect("made above").subscribe(channels).await?)
                }
            }
        })
        .await
    }

    async fn subscribe_resp2(&self, single: &Single, channels: &[String]) -> Result<(), Failure> {
        let mut pubsub = single.client.get_async_pubsub().await?;
        pubsub.subscribe(channels).await?;
        let (name, deliver, mut closed) = (self.name.clone(), delivery(&self.name, &self.out), self.closed.subscribe());
        tokio::spawn(async move {
            let mut messages = pubsub.into_on_message();
            loop {
                tokio::select! {
                    message = messages.next() => match message {
                        Some(message) => deliver(&message),
                        None => return eprintln!("{name}: the subscriber's stream has ended"),
                    },
                    _ = closed.wait_for(|closed| *closed) => return,
                }
            }
        });
        Ok(())
    }

    /// Where keys are watched, it is on a connection of its own: the documentation of `transaction_async` has a multiplexed connection, on
    /// which no other transaction may be active.
    pub async fn begin(&self, commands: Vec<Vec<String>>, watch: Vec<String>) -> Result<(), Failure> {
        let transaction = self
            .until_closed(async {
                Ok(match &self.connections {
                    Connections::Cluster(connection) => Transaction::begin(connection.clone(), commands, watch).await?,
                    Connections::Single(single) if watch.is_empty() => Transaction::begin(single.manager.clone(), commands, watch).await?,
                    Connections::Single(single) => {
                        let config = self.settings.connection(Some(self.settings.response_timeout));
                        let own = single.client.get_multiplexed_async_connection_with_config(&config).await?;
                        Transaction::begin(own, commands, watch).await?
                    }
                })
            })
            .await?;
        *self.transaction.lock().unwrap() = Some(transaction);
        Ok(())
    }

    pub async fn exec(&self) -> Result<Value, Failure> {
        let transaction = self.transaction.lock().unwrap().take();
        let transaction = transaction.ok_or_else(|| Failure::config("exec: no transaction was begun".into()))?;
        self.until_closed(async { Ok(transaction.exec().await?.unwrap_or(Value::Nil)) }).await
    }

    /// The connections end when the last of who uses them lets go of them.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    async fn until_closed<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            done = work => done,
            _ = closed.wait_for(|closed| *closed) => Err(Failure::closed("the client was closed meanwhile".into())),
        }
    }
}

fn delivery(name: &str, out: &Output) -> impl Fn(&Msg) + Send + Sync + 'static {
    let (name, out) = (name.to_owned(), out.clone());
    move |message| {
        let value = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
        out.send(json!({"event": "message", "client": name, "channel": message.get_channel_name(), "value": value}));
    }
}

/// "The underlying error will be propagated to the subscribers": an application that wants to know subscribes like a connection does.
fn report_errors(provider: &EntraIdCredentialsProvider, name: String, out: Output) {
    let mut credentials = provider.subscribe();
    tokio::spawn(async move {
        while let Some(result) = credentials.next().await {
            if let Err(error) = result {
                out.send(json!({"event": "token", "client": name, "what": "refresh-failed", "error": Failure::from(error)}));
            }
        }
    });
}
