package entracache.springdataredis;

import entracache.driver.Kind;
import entracache.driver.Library;
import entracache.driver.Refusal;
import entracache.driver.Reply;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.data.redis.connection.RedisConnection;
import org.springframework.data.redis.core.RedisCallback;
import org.springframework.data.redis.core.RedisOperations;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.data.redis.listener.ChannelTopic;
import org.springframework.data.redis.listener.RedisMessageListenerContainer;

/** A Spring Boot application that uses Redis. */
final class RunningApplication implements Library.Client {
    private final ConfigurableApplicationContext context;
    private final StringRedisTemplate template;
    private final Library.Events events;
    private Transaction transaction; // null where none was begun, or the last one was ended

    RunningApplication(ConfigurableApplicationContext context, Library.Events events) {
        this.context = context;
        this.template = context.getBean(StringRedisTemplate.class);
        this.events = events;
    }

    ConfigurableApplicationContext context() {
        return context;
    }

    @Override
    public Object command(List<String> args) {
        return run(template, args);
    }

    static Object run(RedisOperations<String, String> operations, List<String> args) {
        return operations.execute((RedisCallback<Object>) connection -> run(connection, args));
    }

    /** A command that blocks takes a connection from the pool only if it is sent by its own method. */
    private static Object run(RedisConnection connection, List<String> args) {
        byte[][] rest = args.stream().skip(1).map(arg -> arg.getBytes(StandardCharsets.UTF_8)).toArray(byte[][]::new);
        return switch (args.get(0).toUpperCase(Locale.ROOT)) {
            case "BLPOP" -> connection.listCommands().bLPop(seconds(args), Arrays.copyOf(rest, rest.length - 1));
            case "BRPOP" -> connection.listCommands().bRPop(seconds(args), Arrays.copyOf(rest, rest.length - 1));
            default -> connection.execute(args.get(0), rest);
        };
    }

    private static int seconds(List<String> args) {
        return Integer.parseInt(args.get(args.size() - 1));
    }

    @Override
    public void subscribe(List<String> channels) {
        var container = context.getBean(RedisMessageListenerContainer.class);
        container.addMessageListener((message, pattern) -> events.message(Reply.text(message.getChannel()), Reply.text(message.getBody())),
            channels.stream().map(ChannelTopic::of).toList());
        container.start();
    }

    @Override
    public void begin(List<List<String>> commands, List<String> watch) throws Exception {
        transaction = new Transaction(commands, watch);
        transaction.begin(template);
    }

    @Override
    public Object exec() throws Exception {
        if (transaction == null) {
            throw new Refusal(Kind.CONFIG, "no transaction was begun");
        }
        Transaction begun = transaction;
        transaction = null;
        return begun.exec();
    }

    @Override
    public void close() {
        if (transaction != null) {
            transaction.abandon();
        }
        context.close();
    }
}
