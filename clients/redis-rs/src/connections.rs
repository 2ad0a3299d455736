//! How an application connects: a `ConnectionManager`, or the client of a cluster, with the library's defaults.

use std::time::Duration;

use redis::aio::{AsyncPushSender, ConnectionManager, ConnectionManagerConfig, SendError};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, ConnectionInfo, EntraIdCredentialsProvider, Msg, ProtocolVersion, PushInfo, RedisResult, TlsCertificates,
};

#[derive(Clone)]
pub struct Settings {
    pub info: ConnectionInfo,
    pub certificates: TlsCertificates,
    pub clustered: bool,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub provider: Option<EntraIdCredentialsProvider>,
}

pub enum Connections {
    Single(Box<Single>),
    Cluster(ClusterConnection),
}

pub struct Single {
    pub manager: ConnectionManager,
    pub client: redis::Client,
}

impl Settings {
    pub fn with_protocol(mut self, protocol: ProtocolVersion) -> Self {
        let redis = self.info.redis_settings().clone().set_protocol(protocol);
        self.info = self.info.set_redis_settings(redis);
        self
    }

    /// Connects. With RESP3 messages come on the same connection, and subscriptions outlive it.
    pub async fn connect(&self, deliver: impl Fn(&Msg) + Send + Sync + 'static) -> RedisResult<Connections> {
        let protocol = self.info.redis_settings().protocol();
        let messages = (protocol == ProtocolVersion::RESP3).then(|| sender(deliver));
        if self.clustered {
            let mut builder = ClusterClientBuilder::new([self.info.clone()])
                .certs(self.certificates.clone())
                .use_protocol(protocol)
                .connection_timeout(self.connect_timeout)
                .response_timeout(self.response_timeout);
            if let Some(provider) = &self.provider {
                builder = builder.set_credentials_provider(provider.clone());
            }
            if let Some(messages) = messages {
                builder = builder.push_sender(messages);
            }
            return Ok(Connections::Cluster(builder.build()?.get_async_connection().await?));
        }
        let mut config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        if let Some(provider) = &self.provider {
            config = config.set_credentials_provider(provider.clone());
        }
        if let Some(messages) = messages {
            config = config.set_automatic_resubscription().set_push_sender(messages);
        }
        let client = redis::Client::build_with_tls(self.info.clone(), self.certificates.clone())?;
        let manager = client.get_connection_manager_with_config(config).await?;
        Ok(Connections::Single(Box::new(Single { manager, client })))
    }

    /// For a connection of one's own.
    pub fn connection(&self, response_timeout: Option<Duration>) -> AsyncConnectionConfig {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(self.connect_timeout)).set_response_timeout(response_timeout);
        match &self.provider {
            Some(provider) => config.set_credentials_provider(provider.clone()),
            None => config,
        }
    }
}

impl Connections {
    /// Takes RESP3.
    pub async fn subscribe(&self, channels: &[String]) -> RedisResult<()> {
        match self {
            Connections::Single(single) => single.manager.clone().subscribe(channels).await,
            Connections::Cluster(connection) => connection.clone().subscribe(channels).await,
        }
    }
}

fn sender(deliver: impl Fn(&Msg) + Send + Sync + 'static) -> impl AsyncPushSender {
    move |push: PushInfo| {
        if let Some(message) = Msg::from_push_info(push) {
            deliver(&message);
        }
        Ok::<(), SendError>(())
    }
}
