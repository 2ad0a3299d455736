package entracache.jedis;

import entracache.driver.BlockingCommands;
import entracache.driver.Driver;
import entracache.driver.Entra;
import entracache.driver.Kind;
import entracache.driver.Library;
import entracache.driver.OpenRequest;
import entracache.driver.Refusal;
import entracache.driver.Shared;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.ConnectionPoolConfig;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.RedisClient;
import redis.clients.jedis.RedisClusterClient;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.UnifiedJedis;
import redis.clients.jedis.authentication.AuthXEventListener;
import redis.clients.jedis.authentication.AuthXManager;
import redis.clients.jedis.commands.ProtocolCommand;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;
import redis.clients.jedis.util.KeyValue;
import redis.clients.jedis.util.SafeEncoder;

/** Drives Jedis: a RedisClient, or a RedisClusterClient for a clustered cache, with an AuthXManager, as the guide to Azure Managed Redis has it. */
public final class JedisDriver implements Library {
    public static void main(String[] args) {
        Driver.run(JedisDriver::new);
    }

    @Override
    public String name() {
        return "jedis";
    }

    @Override
    public List<String> artifacts() {
        return List.of("redis.clients:jedis", "redis.clients.authentication:redis-authx-entraid", "com.microsoft.azure:msal4j");
    }

    /** Not here: credential:username, because an AuthXManager always takes the user name from the token. */
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
            return new JedisClient(connect(request, null), null, request.clustered(), events);
        }
        var manager = new AuthXManager(Entra.config(request));
        manager.setListener(new AuthXEventListener() {
            @Override
            public void onIdentityProviderError(Exception reason) {
                events.token("refresh-failed", reason);
            }

            @Override
            public void onConnectionAuthenticationError(Exception reason) {
                events.token("reauth-failed", reason);
            }
        });
        return open(request, events, new Shared<>(manager, manager::stop));
    }

    @Override
    public Client open(OpenRequest request, Events events, Client other) throws Exception {
        return open(request, events, ((JedisClient) other).manager.use());
    }

    private static Client open(OpenRequest request, Events events, Shared<AuthXManager> manager) throws Exception {
        try {
            return new JedisClient(connect(request, manager.value()), manager, request.clustered(), events);
        } catch (Exception e) {
            manager.release();
            throw e;
        }
    }

    /** Without a manager it signs in with the access key. */
    private static UnifiedJedis connect(OpenRequest request, AuthXManager manager) throws Exception {
        var config = DefaultJedisClientConfig.builder().ssl(true).sslSocketFactory(request.cacheTrust().sockets());
        if (request.clustered()) { // the nodes are named by IP address, for which the service has no certificate
            config.hostAndPortMapper(node -> new HostAndPort(request.host(), node.getPort()));
        }
        request.resp().ifPresent(resp -> config.protocol(resp == 2 ? RedisProtocol.RESP2 : RedisProtocol.RESP3));
        request.connectTimeoutMillis().ifPresent(config::connectionTimeoutMillis);
        request.commandTimeoutMillis().ifPresent(config::socketTimeoutMillis);
        var pool = new ConnectionPoolConfig(); // the builder's own default
        request.poolSize().ifPresent(pool::setMaxTotal);
        if (manager == null) {
            config.password(request.accessKey());
        } else {
            config.authXManager(manager);
        }
        var address = new HostAndPort(request.host(), request.port());
        return request.clustered()
            ? RedisClusterClient.builder().nodes(Set.of(address)).clientConfig(config.build()).poolConfig(pool).build()
            : RedisClient.builder().hostAndPort(address).clientConfig(config.build()).poolConfig(pool).build();
    }

    @Override
    public Kind kindOf(Throwable error) {
        if (Entra.isTokenError(error)) {
            return Kind.TOKEN;
        }
        if (error instanceof JedisDataException) { // JedisAccessControlException and its like are kinds of it
            return Kind.ofServerError(error.getMessage());
        } else if (error instanceof JedisConnectionException) {
            return Kind.NETWORK;
        } else if (error instanceof NoSuchElementException) { // the pool's, when no connection came free
            return Kind.TIMEOUT;
        } else if (error instanceof IllegalStateException) { // the pool's, once it is closed
            return Kind.CLOSED;
        }
        // What Jedis refuses before anything is sent. Where it only wraps, as JedisException does, what it wraps has a kind.
        return error instanceof JedisException && error.getCause() == null ? Kind.CONFIG : null;
    }

    private static final class JedisClient implements Client {
        private final UnifiedJedis client;
        private final Shared<AuthXManager> manager; // null with an access key
        private final boolean clustered;
        private final Events events;
        private AbstractTransaction begun;

        JedisClient(UnifiedJedis client, Shared<AuthXManager> manager, boolean clustered, Events events) {
            this.client = client;
            this.manager = manager;
            this.clustered = clustered;
            this.events = events;
        }

        @Override
        public Object command(List<String> args) {
            byte[] name = SafeEncoder.encode(args.get(0));
            byte[][] rest = args.stream().skip(1).map(SafeEncoder::encode).toArray(byte[][]::new);
            ProtocolCommand command = () -> name;
            if (clustered && rest.length > 0) { // the caller names the key: it decides which node is asked
                return reply(BlockingCommands.contain(args)
                    ? client.sendBlockingCommand(rest[0], command, rest) : client.sendCommand(rest[0], command, rest));
            }
            return reply(BlockingCommands.contain(args) ? client.sendBlockingCommand(command, rest) : client.sendCommand(command, rest));
        }

        /** Jedis reads a RESP3 map as a list of KeyValue, and gives no sign of an empty one. */
        private static Object reply(Object value) {
            if (!(value instanceof List<?> items)) {
                return value;
            } else if (items.isEmpty() || !(items.get(0) instanceof KeyValue)) {
                return items.stream().map(JedisClient::reply).toList();
            }
            Map<Object, Object> map = new LinkedHashMap<>();
            items.forEach(item -> map.put(reply(((KeyValue<?, ?>) item).getKey()), reply(((KeyValue<?, ?>) item).getValue())));
            return map;
        }

        /** JedisPubSub blocks its thread for as long as it is subscribed. Its documentation knows nothing to do when it ends. */
        @Override
        public void subscribe(List<String> channels) throws Exception {
            var subscribed = new CompletableFuture<Void>();
            var subscriber = new JedisPubSub() {
                @Override
                public void onSubscribe(String channel, int count) {
                    if (count >= channels.size()) {
                        subscribed.complete(null);
                    }
                }

                @Override
                public void onMessage(String channel, String message) {
                    events.message(channel, message);
                }
            };
            Thread thread = new Thread(() -> {
                try {
                    client.subscribe(subscriber, channels.toArray(String[]::new));
                } catch (RuntimeException e) {
                    if (!subscribed.completeExceptionally(e)) {
                        System.err.println("subscriber ended: " + e);
                    }
                }
            });
            thread.setDaemon(true);
            thread.start();
            try {
                subscribed.get();
            } catch (ExecutionException e) {
                throw (RuntimeException) e.getCause();
            }
        }

        /** As the guide to transactions has it. Jedis writes MULTI and the commands when it wants the answer to EXEC. */
        @Override
        public void begin(List<List<String>> commands, List<String> watch) {
            AbstractTransaction transaction = client.transaction(watch.isEmpty());
            try {
                if (!watch.isEmpty()) {
                    transaction.watch(watch.toArray(String[]::new));
                    transaction.multi();
                }
                for (List<String> args : commands) {
                    byte[] name = SafeEncoder.encode(args.get(0));
                    transaction.sendCommand(() -> name, args.stream().skip(1).map(SafeEncoder::encode).toArray(byte[][]::new));
                }
            } catch (RuntimeException e) {
                transaction.close();
                throw e;
            }
            begun = transaction;
        }

        @Override
        public Object exec() throws Refusal {
            if (begun == null) {
                throw new Refusal(Kind.CONFIG, "no transaction was begun");
            }
            try (AbstractTransaction transaction = begun) {
                begun = null;
                return reply(transaction.exec());
            }
        }

        @Override
        public void close() {
            client.close();
            if (manager != null) {
                manager.release();
            }
        }
    }
}
