package entracache.redisson;

import entracache.driver.Driver;
import entracache.driver.Entra;
import entracache.driver.Kind;
import entracache.driver.Library;
import entracache.driver.OpenRequest;
import entracache.driver.Refusal;
import entracache.driver.Shared;
import io.netty.channel.Channel;
import io.netty.channel.ConnectTimeoutException;
import io.netty.handler.ssl.SslHandler;
import java.util.List;
import java.util.Locale;
import org.redisson.Redisson;
import org.redisson.RedissonShutdownException;
import org.redisson.api.BatchOptions;
import org.redisson.api.RFuture;
import org.redisson.api.RedissonClient;
import org.redisson.client.DefaultNettyHook;
import org.redisson.client.RedisConnectionException;
import org.redisson.client.RedisException;
import org.redisson.client.RedisNodeNotFoundException;
import org.redisson.client.RedisTimeoutException;
import org.redisson.client.codec.ByteArrayCodec;
import org.redisson.client.codec.StringCodec;
import org.redisson.client.protocol.RedisCommand;
import org.redisson.client.protocol.decoder.ObjectListReplayDecoder;
import org.redisson.command.CommandAsyncExecutor;
import org.redisson.command.CommandBatchService;
import org.redisson.config.BaseConfig;
import org.redisson.config.ClusterServersConfig;
import org.redisson.config.Config;
import org.redisson.config.EntraIdCredentialsResolver;
import org.redisson.config.Protocol;
import org.redisson.config.SingleServerConfig;
import org.redisson.misc.RedisURI;
import redis.clients.authentication.core.TokenManager;

/** Drives Redisson: a RedissonClient with an EntraIdCredentialsResolver, the implementation that its configuration guide names. */
public final class RedissonDriver implements Library {
    public static void main(String[] args) {
        Driver.run(RedissonDriver::new);
    }

    @Override
    public String name() {
        return "redisson";
    }

    @Override
    public List<String> artifacts() {
        return List.of("org.redisson:redisson", "redis.clients.authentication:redis-authx-entraid", "com.microsoft.azure:msal4j");
    }

    /**
     * Not here: credential:username, because the resolver always takes the user name from the token; events, because Redisson
     * tells nobody but its log; and transactions:watch, because its batches have no WATCH.
     */
    @Override
    public List<String> capabilities() {
        return List.of("credential:client-secret", "credential:access-key", "credential:managed-identity", "credential:certificate",
            "resp2", "resp3", "pubsub", "pool", "blocking", "tls:custom-ca", "cluster", "transactions", "shared-provider");
    }

    /**
     * Redisson sends a PING every 30 seconds on every connection and looks for its answer after another 30. A command that waits then
     * goes on with its attempts.
     */
    @Override
    public int recoveryMillis() {
        return 90_000;
    }

    @Override
    public int minTokenLifetimeMillis() {
        return Entra.MIN_TOKEN_LIFETIME_MILLIS;
    }

    @Override
    public Client open(OpenRequest request, Events events) throws Exception {
        if (!request.usesTokens()) {
            return open(request, events, (Shared<EntraIdCredentialsResolver>) null);
        }
        var authx = Entra.config(request);
        var tokens = new TokenManager(authx.getIdentityProviderConfig().getProvider(), authx.getTokenManagerConfig());
        return open(request, events, new Shared<>(new EntraIdCredentialsResolver(tokens), tokens::stop));
    }

    @Override
    public Client open(OpenRequest request, Events events, Client other) throws Exception {
        return open(request, events, ((Connected) other).credentials.use());
    }

    /** Without credentials it signs in with the access key. */
    private static Client open(OpenRequest request, Events events, Shared<EntraIdCredentialsResolver> credentials) throws Exception {
        Config config = new Config();
        config.setSslTrustManagerFactory(request.cacheTrust().managers());
        request.resp().ifPresent(resp -> config.setProtocol(resp == 2 ? Protocol.RESP2 : Protocol.RESP3));
        String address = "rediss://" + request.host() + ":" + request.port();
        if (request.clustered()) {
            var servers = config.useClusterServers().addNodeAddress(address);
            clustered(servers, request);
            stretch(config, servers, request.clockRate());
        } else {
            var server = config.useSingleServer().setAddress(address);
            single(server, request);
            stretch(config, server, request.clockRate());
        }
        if (credentials != null) {
            config.setCredentialsResolver(credentials.value());
        } else {
            config.setPassword(request.accessKey());
        }
        try {
            return new Connected(Redisson.create(config), credentials, events);
        } catch (RuntimeException e) {
            if (credentials != null) {
                credentials.release();
            }
            throw e;
        }
    }

    /** Where this process's clock is faster the network is not: what bounds an exchange on it by default is multiplied. */
    private static void stretch(Config config, BaseConfig<?> server, int rate) {
        if (rate == 1) {
            return;
        }
        server.setSubscriptionTimeout(server.getSubscriptionTimeout() * rate);
        var delay = server.getRetryDelay(); // a command waits for a connection as long as all its attempts take
        server.setRetryDelay(attempt -> delay.calcDelay(attempt).multipliedBy(rate));
        config.setNettyHook(new DefaultNettyHook() {
            @Override
            public void afterChannelInitialization(Channel channel) {
                var tls = channel.pipeline().get(SslHandler.class);
                if (tls != null) { // ten seconds, which Redisson has no setting for
                    tls.setHandshakeTimeoutMillis(tls.getHandshakeTimeoutMillis() * rate);
                }
            }
        });
    }

    // Redisson refuses a pool that is smaller than the number of connections that it keeps when idle. They are as large a part of the
    // pool, rounded up, as they are of the default one: 24 of 64.
    private static void single(SingleServerConfig server, OpenRequest request) {
        request.connectTimeoutMillis().ifPresent(server::setConnectTimeout);
        request.commandTimeoutMillis().ifPresent(server::setTimeout);
        request.poolSize().ifPresent(size -> server
            .setConnectionMinimumIdleSize(part(size, server.getConnectionMinimumIdleSize(), server.getConnectionPoolSize()))
            .setConnectionPoolSize(size));
    }

    /** The pools of a cluster are those of each node, the replicas' apart. */
    private static void clustered(ClusterServersConfig servers, OpenRequest request) {
        // The nodes are named by IP address, for which the service has no certificate.
        servers.setNatMapper(node -> new RedisURI(node.getScheme(), request.host(), node.getPort()));
        request.connectTimeoutMillis().ifPresent(servers::setConnectTimeout);
        request.commandTimeoutMillis().ifPresent(servers::setTimeout);
        request.poolSize().ifPresent(size -> servers
            .setMasterConnectionMinimumIdleSize(part(size, servers.getMasterConnectionMinimumIdleSize(), servers.getMasterConnectionPoolSize()))
            .setMasterConnectionPoolSize(size)
            .setSlaveConnectionMinimumIdleSize(part(size, servers.getSlaveConnectionMinimumIdleSize(), servers.getSlaveConnectionPoolSize()))
            .setSlaveConnectionPoolSize(size));
    }

    private static int part(int size, int idle, int all) {
        return 1 + (size * idle - 1) / all;
    }

    @Override
    public Kind kindOf(Throwable error) {
        if (Entra.isTokenError(error)) {
            return Kind.TOKEN;
        }
        if (error instanceof RedisTimeoutException || error instanceof ConnectTimeoutException) {
            return Kind.TIMEOUT;
        } else if (error instanceof RedisConnectionException || error instanceof RedisNodeNotFoundException) {
            return Kind.NETWORK;
        } else if (error instanceof RedissonShutdownException) {
            return Kind.CLOSED;
        } else if (error instanceof RedisException && error.getMessage() != null && error.getMessage().matches("(?s)[A-Z]+ .*")) {
            return Kind.ofServerError(error.getMessage());
        }
        return error instanceof RedisException ? Kind.NETWORK : null; // the nearest, where nothing that it wraps has a kind
    }

    private static final class Connected implements Client {
        private final RedissonClient client;
        private final Shared<EntraIdCredentialsResolver> credentials; // null with an access key
        private final Events events;
        private CommandBatchService begun;

        Connected(RedissonClient client, Shared<EntraIdCredentialsResolver> credentials, Events events) {
            this.client = client;
            this.credentials = credentials;
            this.events = events;
        }

        /**
         * Redisson has objects, and no method for a command of any name: this is what its objects send their commands with. It knows
         * a command that blocks by its name in capitals.
         */
        @Override
        public Object command(List<String> args) {
            CommandAsyncExecutor executor = ((Redisson) client).getCommandExecutor();
            return executor.get(send(executor, args));
        }

        private static RFuture<Object> send(CommandAsyncExecutor executor, List<String> args) {
            var command = new RedisCommand<Object>(args.get(0).toUpperCase(Locale.ROOT), new ObjectListReplayDecoder());
            String key = args.size() > 1 ? args.get(1) : "";
            return executor.writeAsync(key, ByteArrayCodec.INSTANCE, command, args.stream().skip(1).toArray());
        }

        /**
         * A batch whose execution mode is REDIS_WRITE_ATOMIC: what createBatch makes, with this driver's way to send any command. MULTI and
         * the commands are sent as they come.
         */
        @Override
        public void begin(List<List<String>> commands, List<String> watch) throws Refusal {
            if (!watch.isEmpty()) {
                throw new Refusal(Kind.UNSUPPORTED, "Redisson's batches have no WATCH");
            }
            var options = BatchOptions.defaults().executionMode(BatchOptions.ExecutionMode.REDIS_WRITE_ATOMIC);
            var batch = new CommandBatchService(((Redisson) client).getCommandExecutor(), options);
            commands.forEach(args -> send(batch, args));
            begun = batch;
        }

        @Override
        public Object exec() throws Refusal {
            if (begun == null) {
                throw new Refusal(Kind.CONFIG, "no transaction was begun");
            }
            CommandBatchService batch = begun;
            begun = null;
            return ((Redisson) client).getCommandExecutor().get(batch.executeAsync()).getResponses();
        }

        @Override
        public void subscribe(List<String> channels) {
            for (String channel : channels) {
                client.getTopic(channel, StringCodec.INSTANCE)
                    .addListener(String.class, (name, message) -> events.message(name.toString(), message));
            }
        }

        @Override
        public void close() {
            client.shutdown();
            if (credentials != null) {
                credentials.release();
            }
        }
    }
}
