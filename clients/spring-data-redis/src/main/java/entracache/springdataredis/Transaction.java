package entracache.springdataredis;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.springframework.dao.DataAccessException;
import org.springframework.data.redis.core.RedisOperations;
import org.springframework.data.redis.core.SessionCallback;
import org.springframework.data.redis.core.StringRedisTemplate;

/** What a SessionCallback does has one connection, and is done when it returns: so it waits in a thread of its own for the end. */
final class Transaction implements SessionCallback<List<Object>> {
    private final List<List<String>> commands;
    private final List<String> watch;
    private final CompletableFuture<Void> begun = new CompletableFuture<>();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private final CompletableFuture<List<Object>> replies = new CompletableFuture<>();

    Transaction(List<List<String>> commands, List<String> watch) {
        this.commands = commands;
        this.watch = watch;
    }

    @Override
    @SuppressWarnings("unchecked")
    public <K, V> List<Object> execute(RedisOperations<K, V> session) throws DataAccessException {
        var operations = (RedisOperations<String, String>) session;
        if (!watch.isEmpty()) {
            operations.watch(watch);
        }
        operations.multi();
        commands.forEach(args -> RunningApplication.run(operations, args));
        begun.complete(null);
        ended.join();
        return operations.exec();
    }

    void begin(StringRedisTemplate template) throws Exception {
        var thread = new Thread(() -> {
            try {
                replies.complete(template.execute(this));
            } catch (Throwable error) {
                replies.completeExceptionally(error);
                begun.completeExceptionally(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
        begun.get();
    }

    /** No replies at all are Spring's word for a watched key that had changed. */
    List<Object> exec() throws Exception {
        ended.complete(null);
        List<Object> all = replies.get();
        return all.isEmpty() ? null : all;
    }

    void abandon() {
        ended.cancel(false);
    }
}
