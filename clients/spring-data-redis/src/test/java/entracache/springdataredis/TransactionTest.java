package entracache.springdataredis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.springframework.data.redis.RedisConnectionFailureException;
import org.springframework.data.redis.core.RedisCallback;
import org.springframework.data.redis.core.SessionCallback;
import org.springframework.data.redis.core.StringRedisTemplate;

class TransactionTest {
    /** Notes what it is told to do, and has no connection. */
    private static final class Noting extends StringRedisTemplate {
        final List<String> told = Collections.synchronizedList(new ArrayList<>());
        final CountDownLatch over = new CountDownLatch(1); // the session
        final List<Object> replies;
        RuntimeException atCommand;

        Noting(Object... replies) {
            this.replies = List.of(replies);
        }

        @Override
        public <T> T execute(SessionCallback<T> session) {
            try {
                return session.execute(this);
            } finally {
                over.countDown();
            }
        }

        @Override
        public <T> T execute(RedisCallback<T> action) {
            told.add("command");
            if (atCommand != null) {
                throw atCommand;
            }
            return null;
        }

        @Override
        public void watch(Collection<String> keys) {
            told.add("watch " + keys);
        }

        @Override
        public void multi() {
            told.add("multi");
        }

        @Override
        public List<Object> exec() {
            told.add("exec");
            return replies;
        }
    }

    private static Transaction transaction(String... watch) {
        return new Transaction(List.of(List.of("SET", "stock", "7"), List.of("INCR", "stock")), List.of(watch));
    }

    @Test
    void theCommandsAreSentAtTheBeginning() throws Exception {
        var template = new Noting("OK", 8L);
        var transaction = transaction();
        transaction.begin(template);
        assertEquals(List.of("multi", "command", "command"), template.told);
        assertEquals(List.of("OK", 8L), transaction.exec());
        assertEquals(List.of("multi", "command", "command", "exec"), template.told);
    }

    @Test
    void noRepliesMeanThatAWatchedKeyHadChanged() throws Exception {
        var template = new Noting();
        var transaction = transaction("stock");
        transaction.begin(template);
        assertEquals(List.of("watch [stock]", "multi", "command", "command"), template.told);
        assertNull(transaction.exec());
    }

    @Test
    void whatFailsAtTheBeginningIsTold() {
        var template = new Noting();
        template.atCommand = new RedisConnectionFailureException("Unable to connect to Redis");
        var error = assertThrows(ExecutionException.class, () -> transaction().begin(template));
        assertEquals(template.atCommand, error.getCause());
    }

    @Test
    void oneThatIsAbandonedGivesItsConnectionBack() throws Exception {
        var template = new Noting("OK", 8L);
        var transaction = transaction();
        transaction.begin(template);
        transaction.abandon();
        assertTrue(template.over.await(1, TimeUnit.MINUTES));
        assertEquals(List.of("multi", "command", "command"), template.told);
    }
}
