package entracache.lettuce;

import entracache.driver.BlockingCommands;
import entracache.driver.Driver;
import entracache.driver.Entra;
import entracache.driver.Kind;
import entracache.driver.Library;
import entracache.driver.OpenRequest;
import entracache.driver.Refusal;
import entracache.driver.Shared;
import io.lettuce.authx.TokenBasedRedisCredentialsProvider;
import io.lettuce.core.AbstractRedisClient;
import io.lettuce.core.ClientOptions;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisCommandTimeoutException;
import io.lettuce.core.RedisConnectionException;
import io.lettuce.core.RedisException;
import io.lettuce.core.RedisURI;
import io.lettuce.core.SocketOptions;
import io.lettuce.core.SslOptions;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.api.StatefulConnection;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.cluster.ClusterClientOptions;
import io.lettuce.core.cluster.RedisClusterClient;
import io.lettuce.core.cluster.api.StatefulRedisClusterConnection;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.event.connection.ReauthenticationFailedEvent;
import io.lettuce.core.internal.HostAndPort;
import io.lettuce.core.protocol.CommandArgs;
import io.lettuce.core.protocol.ProtocolKeyword;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import io.lettuce.core.resource.DefaultClientResources;
import io.lettuce.core.resource.MappingSocketAddressResolver;
import io.lettuce.core.support.ConnectionPoolSupport;
import io.netty.channel.ConnectTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.commons.pool2.impl.GenericObjectPool;
import org.apache.commons.pool2.impl.GenericObjectPoolConfig;

/** Drives Lettuce: a RedisClient, or a RedisClusterClient for a clustered cache, with a TokenBasedRedisCredentialsProvider, as the user guide has it. */
public final class LettuceDriver implements Library {
    public static void main(String[] args) {
        Driver.run(LettuceDriver::new);
    }

    @Override
    public String name() {
        return "lettuce";
    }

    @Override
    public List<String> artifacts() {
        return List.of("io.lettuce:lettuce-core", "redis.clients.authentication:redis-authx-entraid", "com.microsoft.azure:msal4j");
    }

    /** Not here: credential:username, because the provider always takes the user name from the token. */
    @Override
    public List<String> capabilities() {
        return List.of("credential:client-secret", "credential:access-key", "credential:managed-identity", "credential:certificate",
            "resp2", "resp3", "pubsub", "pool", "blocking", "events", "tls:custom-ca", "cluster", "transactions", "transactions:watch",
            "shared-provider");
    }

    @Override
    public int minTokenLifetimeMillis() {
        return Entra.MIN_TOKEN_LIFETIME_MILLIS;
    }

    @Override
    public Client open(OpenRequest request, Events events) throws Exception {
        if (!request.usesTokens()) {
            return open(request, events, (Shared<TokenBasedRedisCredentialsProvider>) null);
        }
        var provider = TokenBasedRedisCredentialsProvider.create(Entra.config(request));
        return open(request, events, new Shared<>(provider, provider::close));
    }

    @Override
    public Client open(OpenRequest request, Events events, Client other) throws Exception {
        return open(request, events, ((LettuceClient) other).provider.use());
    }

    /** Without a provider it signs in with the access key. */
    private static Client open(OpenRequest request, Events events, Shared<TokenBasedRedisCredentialsProvider> provider) throws Exception {
        var uri = RedisURI.builder().withHost(request.host()).withPort(request.port()).withSsl(true);
        request.commandTimeoutMillis().ifPresent(millis -> uri.withTimeout(Duration.ofMillis(millis)));
        var ssl = SslOptions.builder().jdkSslProvider().trustManager(request.cacheTrust().managers());
        ssl.handshakeTimeout(ssl.build().getHandshakeTimeout().multipliedBy(request.clockRate()));
        ClientOptions.Builder options = request.clustered() ? ClusterClientOptions.builder() : ClientOptions.builder();
        options.sslOptions(ssl.build());
        request.resp().ifPresent(resp -> options.protocolVersion(resp == 2 ? ProtocolVersion.RESP2 : ProtocolVersion.RESP3));
        request.connectTimeoutMillis().ifPresent(millis ->
            options.socketOptions(SocketOptions.builder().connectTimeout(Duration.ofMillis(millis)).build()));
        if (provider != null) {
            uri.withAuthentication(provider.value());
            options.reauthenticateBehavior(ClientOptions.ReauthenticateBehavior.ON_NEW_CREDENTIALS);
        } else {
            uri.withPassword(request.accessKey().toCharArray());
        }
        AbstractRedisClient client;
        if (request.clustered()) {
            // As Azure's best practices for Lettuce have it: the nodes are named by IP address, for which there is no certificate.
            var resources = DefaultClientResources.builder().socketAddressResolver(MappingSocketAddressResolver.create(
                (HostAndPort node) -> HostAndPort.of(request.host(), node.getPort()))).build();
            var clustered = RedisClusterClient.create(resources, uri.build());
            clustered.setOptions((ClusterClientOptions) options.build());
            client = clustered;
        } else {
            var single = RedisClient.create(uri.build());
            single.setOptions(options.build());
            client = single;
        }
        client.getResources().eventBus().get().ofType(ReauthenticationFailedEvent.class)
            .subscribe(event -> events.token("reauth-failed", event.getCause()));
        try {
            return new LettuceClient(client, provider, request, events);
        } catch (Exception e) {
            shutDown(client);
            if (provider != null) {
                provider.release();
            }
            throw e;
        }
    }

    /** Closes every connection that the client made. */
    private static void shutDown(AbstractRedisClient client) {
        client.shutdown();
        if (client instanceof RedisClusterClient) { // its resources were made for it
            client.getResources().shutdown();
        }
    }

    @Override
    public Kind kindOf(Throwable error) {
        if (Entra.isTokenError(error)) {
            return Kind.TOKEN;
        }
        if (error instanceof RedisCommandExecutionException) {
            return Kind.ofServerError(error.getMessage());
        } else if (error instanceof RedisCommandTimeoutException || error instanceof ConnectTimeoutException
            || error instanceof NoSuchElementException) { // the last one is the pool's, when no connection came free
            return Kind.TIMEOUT;
        } else if (error instanceof RedisConnectionException && error.getMessage().startsWith("Renewable credentials are not")) {
            return Kind.CONFIG;
        } else if (error instanceof IllegalStateException) { // the pool's, once it is closed
            return Kind.CLOSED;
        }
        return error instanceof RedisException ? Kind.NETWORK : null;
    }

    /** All commands share one connection, except those that block: they get one from a pool. */
    private static final class LettuceClient implements Client {
        private final AbstractRedisClient client;
        private final Shared<TokenBasedRedisCredentialsProvider> provider; // null with an access key
        private final Events events;
        private final StatefulConnection<byte[], byte[]> shared;
        private final GenericObjectPool<StatefulConnection<byte[], byte[]>> pool;
        private StatefulRedisConnection<byte[], byte[]> transactional; // null until the first transaction, and after one that failed

        LettuceClient(AbstractRedisClient client, Shared<TokenBasedRedisCredentialsProvider> provider, OpenRequest request, Events events) {
            this.client = client;
            this.provider = provider;
            this.events = events;
            shared = connect();
            var config = new GenericObjectPoolConfig<StatefulConnection<byte[], byte[]>>();
            request.poolSize().ifPresent(config::setMaxTotal);
            pool = ConnectionPoolSupport.createGenericObjectPool(this::connectForBlocking, config);
        }

        /** To the nodes, if the cache is clustered: such a connection stands for one to each of them. */
        private StatefulConnection<byte[], byte[]> connect() {
            return client instanceof RedisClusterClient clustered
                ? clustered.connect(ByteArrayCodec.INSTANCE) : ((RedisClient) client).connect(ByteArrayCodec.INSTANCE);
        }

        private StatefulConnection<byte[], byte[]> connectForBlocking() {
            StatefulConnection<byte[], byte[]> connection = connect();
            connection.setTimeout(Duration.ZERO); // for ever: how long such a command waits is its own argument
            return connection;
        }

        @Override
        public Object command(List<String> args) throws Exception {
            if (!BlockingCommands.contain(args)) {
                return dispatch(shared, args);
            }
            try (StatefulConnection<byte[], byte[]> connection = pool.borrowObject()) {
                return dispatch(connection, args);
            }
        }

        private static Object dispatch(StatefulConnection<byte[], byte[]> connection, List<String> args) {
            var rest = new CommandArgs<>(ByteArrayCodec.INSTANCE);
            if (connection instanceof StatefulRedisClusterConnection<byte[], byte[]> clustered) {
                for (String arg : args.subList(1, args.size())) {
                    if (arg == args.get(1)) { // the caller names the key: it decides which node is asked
                        rest.addKey(arg.getBytes(StandardCharsets.UTF_8));
                    } else {
                        rest.add(arg);
                    }
                }
                return clustered.sync().dispatch(new Keyword(args.get(0)), new ReplyOutput(), rest);
            }
            args.stream().skip(1).forEach(rest::add);
            var single = (StatefulRedisConnection<byte[], byte[]>) connection;
            return single.sync().dispatch(new Keyword(args.get(0)), new ReplyOutput(), rest);
        }

        @Override
        public void subscribe(List<String> channels) {
            StatefulRedisPubSubConnection<String, String> connection = client instanceof RedisClusterClient clustered
                ? clustered.connectPubSub() : ((RedisClient) client).connectPubSub();
            connection.addListener(new RedisPubSubAdapter<>() {
                @Override
                public void message(String channel, String message) {
                    events.message(channel, message);
                }
            });
            connection.sync().subscribe(channels.toArray(String[]::new));
        }

        /** As the user guide has it, on a connection of its own: each command is sent as it comes, and answered QUEUED. */
        @Override
        public void begin(List<List<String>> commands, List<String> watch) {
            if (transactional == null) {
                transactional = (StatefulRedisConnection<byte[], byte[]>) connect();
            }
            try {
                if (!watch.isEmpty()) {
                    transactional.sync().watch(watch.stream().map(key -> key.getBytes(StandardCharsets.UTF_8)).toArray(byte[][]::new));
                }
                transactional.sync().multi();
                commands.forEach(args -> dispatch(transactional, args));
            } catch (RuntimeException e) {
                transactionFailed();
                throw e;
            }
        }

        @Override
        public Object exec() throws Refusal {
            if (transactional == null) {
                throw new Refusal(Kind.CONFIG, "no transaction was begun");
            }
            try {
                TransactionResult result = transactional.sync().exec();
                return result.wasDiscarded() ? null : result.stream().toList();
            } catch (RuntimeException e) {
                transactionFailed();
                throw e;
            }
        }

        private void transactionFailed() {
            transactional.close();
            transactional = null;
        }

        @Override
        public void close() {
            pool.close();
            shutDown(client);
            if (provider != null) {
                provider.release();
            }
        }
    }

    /** A command's name that Lettuce need not know. */
    private record Keyword(String name) implements ProtocolKeyword {
        @Override
        public byte[] getBytes() {
            return name.getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public String toString() {
            return name;
        }
    }
}
