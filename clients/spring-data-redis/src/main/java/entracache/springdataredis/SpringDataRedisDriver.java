package entracache.springdataredis;

import com.azure.core.exception.AzureException;
import com.azure.spring.cloud.autoconfigure.implementation.context.AzureGlobalPropertiesAutoConfiguration;
import com.azure.spring.cloud.autoconfigure.implementation.data.redis.AzureLettucePasswordlessAutoConfiguration;
import com.azure.spring.cloud.autoconfigure.implementation.data.redis.lettuce.AzureRedisCredentials;
import entracache.driver.Driver;
import entracache.driver.Kind;
import entracache.driver.Library;
import entracache.driver.OpenRequest;
import entracache.driver.Trust;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisCommandTimeoutException;
import io.lettuce.core.RedisException;
import io.lettuce.core.SocketOptions;
import io.lettuce.core.internal.HostAndPort;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.resource.MappingSocketAddressResolver;
import io.lettuce.core.resource.NettyCustomizer;
import io.netty.bootstrap.Bootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelOption;
import io.netty.channel.ConnectTimeoutException;
import io.netty.handler.ssl.SslHandler;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Supplier;
import org.springframework.boot.Banner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.ImportAutoConfiguration;
import org.springframework.boot.autoconfigure.data.redis.ClientResourcesBuilderCustomizer;
import org.springframework.boot.autoconfigure.data.redis.LettuceClientOptionsBuilderCustomizer;
import org.springframework.boot.autoconfigure.data.redis.RedisAutoConfiguration;
import org.springframework.boot.autoconfigure.ssl.SslAutoConfiguration;
import org.springframework.boot.logging.LoggingSystem;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.support.GenericApplicationContext;
import org.springframework.data.redis.connection.RedisConnectionFactory;
import org.springframework.data.redis.listener.RedisMessageListenerContainer;

/** Drives Spring Data Redis with Spring Cloud Azure: a Spring Boot application per client, with the passwordless connection as Microsoft's guide has it. */
public final class SpringDataRedisDriver implements Library {
    private static final String STORE_PASSWORD = "public"; // there must be one, for a store of certificates that are no secret

    /** What the clients trust, all together: there is one trust store in a JVM. */
    private final List<Certificate> roots = new ArrayList<>();

    public static void main(String[] args) {
        System.setProperty(LoggingSystem.SYSTEM_PROPERTY, LoggingSystem.NONE);
        Driver.run(SpringDataRedisDriver::new);
    }

    /**
     * The passwordless connection leaves Lettuce with options of its own, in which what spring.data.redis.ssl.bundle says has no place.
     * What is left is the trust store of the JVM.
     */
    private synchronized void trust(String pems) throws Exception {
        List<? extends Certificate> more = Trust.certificates(pems).stream().filter(root -> !roots.contains(root)).toList();
        if (more.isEmpty()) {
            return;
        }
        roots.addAll(more);
        Path file = Files.createTempFile("roots", ".p12");
        file.toFile().deleteOnExit();
        try (OutputStream out = Files.newOutputStream(file)) {
            Trust.store(roots).store(out, STORE_PASSWORD.toCharArray());
        }
        System.setProperty("javax.net.ssl.trustStorePassword", STORE_PASSWORD);
        System.setProperty("javax.net.ssl.trustStore", file.toString());
    }

    @Override
    public String name() {
        return "spring-data-redis";
    }

    @Override
    public List<String> artifacts() {
        return List.of("com.azure.spring:spring-cloud-azure-starter-data-redis-lettuce", "org.springframework.data:spring-data-redis",
            "io.lettuce:lettuce-core", "com.azure:azure-identity", "com.microsoft.azure:msal4j");
    }

    /** Not here: resp3, because the passwordless connection is on RESP2 whatever is asked for; and events, because only the log is told. */
    @Override
    public List<String> capabilities() {
        return List.of("credential:client-secret", "credential:access-key", "credential:managed-identity", "credential:certificate",
            "credential:workload-identity", "credential:username", "resp2", "pubsub", "pool", "blocking", "tls:custom-ca", "cluster",
            "transactions", "transactions:watch", "shared-provider");
    }

    /** Azure Identity hands no token out of its memory in the last five minutes of its life. */
    @Override
    public int minTokenLifetimeMillis() {
        return 360_000;
    }

    /** Every client is an application of its own: it starts, and closing the client stops it. */
    @Override
    public Client open(OpenRequest request, Events events) throws Exception {
        return open(request, events, () -> Credentials.of(request));
    }

    /** The other client is another application, which is given the same bean. */
    @Override
    public Client open(OpenRequest request, Events events, Client other) throws Exception {
        return open(request, events, () -> ((RunningApplication) other).context().getBean(AzureRedisCredentials.class));
    }

    private Client open(OpenRequest request, Events events, Supplier<AzureRedisCredentials> credentials) throws Exception {
        trust(request.pems());
        var application = new SpringApplication(Application.class);
        application.setWebApplicationType(WebApplicationType.NONE);
        application.setBannerMode(Banner.Mode.OFF);
        application.setLogStartupInfo(false);
        application.setRegisterShutdownHook(false);
        application.setLazyInitialization(true);
        application.addInitializers(context -> addBeans((GenericApplicationContext) context, request, credentials));
        ConfigurableApplicationContext context = application.run(properties(request));
        try {
            return new RunningApplication(context, events);
        } catch (RuntimeException e) {
            context.close();
            throw e;
        }
    }

    private static String[] properties(OpenRequest request) {
        List<String> properties = new ArrayList<>();
        properties.add("spring.data.redis.host=" + request.host());
        properties.add("spring.data.redis.port=" + request.port());
        properties.add("spring.data.redis.ssl.enabled=true");
        properties.add("spring.data.redis.repositories.enabled=false");
        if (request.clustered()) {
            properties.add("spring.data.redis.cluster.nodes=" + request.host() + ":" + request.port());
        }
        if (request.usesTokens()) {
            properties.add("spring.data.redis.azure.passwordless-enabled=true");
        } else {
            properties.add("spring.data.redis.password=" + request.accessKey());
        }
        request.connectTimeoutMillis().ifPresent(millis -> properties.add("spring.data.redis.connect-timeout=" + millis + "ms"));
        request.commandTimeoutMillis().ifPresent(millis -> properties.add("spring.data.redis.timeout=" + millis + "ms"));
        request.poolSize().ifPresent(size -> properties.add("spring.data.redis.lettuce.pool.max-active=" + size));
        return properties.stream().map(property -> "--" + property).toArray(String[]::new);
    }

    private static void addBeans(GenericApplicationContext context, OpenRequest request, Supplier<AzureRedisCredentials> credentials) {
        if (request.usesTokens()) {
            context.registerBean(AzureRedisCredentials.class, credentials);
        }
        request.resp().ifPresent(resp -> context.registerBean(LettuceClientOptionsBuilderCustomizer.class,
            () -> options -> options.protocolVersion(resp == 2 ? ProtocolVersion.RESP2 : ProtocolVersion.RESP3)));
        context.registerBean(ClientResourcesBuilderCustomizer.class, () -> resources -> {
            if (request.clustered()) { // the nodes are named by IP address, for which there is no certificate
                resources.socketAddressResolver(MappingSocketAddressResolver.create(
                    (HostAndPort node) -> HostAndPort.of(request.host(), node.getPort())));
            }
            if (request.clockRate() > 1) {
                resources.nettyCustomizer(new Stretched(request));
            }
        });
        context.registerBean(RedisMessageListenerContainer.class, () -> {
            var container = new RedisMessageListenerContainer();
            container.setConnectionFactory(context.getBean(RedisConnectionFactory.class));
            container.setMaxSubscriptionRegistrationWaitingTime(
                RedisMessageListenerContainer.DEFAULT_SUBSCRIPTION_REGISTRATION_WAIT_TIME * request.clockRate());
            return container;
        });
    }

    /** Where this process's clock is faster the network is not: what bounds an exchange on it by default is multiplied. */
    private record Stretched(OpenRequest request) implements NettyCustomizer {
        @Override
        public void afterBootstrapInitialized(Bootstrap bootstrap) {
            if (request.usesTokens()) { // then the timeout that the request gave is lost
                int millis = (int) SocketOptions.DEFAULT_CONNECT_TIMEOUT_DURATION.toMillis();
                bootstrap.option(ChannelOption.CONNECT_TIMEOUT_MILLIS, millis * request.clockRate());
            }
        }

        @Override
        public void afterChannelInitialized(Channel channel) {
            var tls = channel.pipeline().get(SslHandler.class);
            if (tls != null) {
                tls.setHandshakeTimeoutMillis(tls.getHandshakeTimeoutMillis() * request.clockRate());
            }
        }
    }

    @Override
    public Kind kindOf(Throwable error) {
        if (error instanceof AzureException || isTimeoutOfToken(error) || isUnreadableToken(error)) {
            return Kind.TOKEN;
        } else if (error instanceof RedisCommandExecutionException) {
            return Kind.ofServerError(error.getMessage());
        } else if (error instanceof RedisCommandTimeoutException || error instanceof ConnectTimeoutException
            || error instanceof NoSuchElementException) { // the last one is the pool's, when no connection came free
            return Kind.TIMEOUT;
        } else if (error instanceof IllegalStateException) { // the connection factory's, once it is stopped
            return Kind.CLOSED;
        }
        return error instanceof RedisException ? Kind.NETWORK : null;
    }

    private static boolean isTimeoutOfToken(Throwable error) {
        return error instanceof IllegalStateException && String.valueOf(error.getMessage()).startsWith("Timeout on blocking read");
    }

    private static boolean isUnreadableToken(Throwable error) {
        return error instanceof IllegalArgumentException && String.valueOf(error.getMessage()).startsWith("Failed to parse the token");
    }

    /** Of all autoconfiguration what has to do with Redis, for a quick start. */
    @Configuration(proxyBeanMethods = false)
    @ImportAutoConfiguration({AzureGlobalPropertiesAutoConfiguration.class, AzureLettucePasswordlessAutoConfiguration.class,
        SslAutoConfiguration.class, RedisAutoConfiguration.class})
    static class Application {
    }
}
