package entracache.springdataredis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.azure.core.exception.ClientAuthenticationException;
import entracache.driver.Kind;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisCommandTimeoutException;
import io.lettuce.core.RedisConnectionException;
import io.netty.channel.ConnectTimeoutException;
import java.time.Duration;
import java.util.NoSuchElementException;
import org.junit.jupiter.api.Test;
import org.springframework.data.redis.RedisConnectionFailureException;
import reactor.core.publisher.Mono;

class SpringDataRedisDriverTest {
    private final SpringDataRedisDriver library = new SpringDataRedisDriver();

    @Test
    void kindsOfErrors() {
        assertEquals(Kind.TOKEN, library.kindOf(new ClientAuthenticationException("AADSTS7000215: Invalid client secret", null)));
        assertEquals(Kind.TOKEN, library.kindOf(new IllegalArgumentException("Failed to parse the token, can't get the username from the token")));
        assertEquals(Kind.AUTH, library.kindOf(new RedisCommandExecutionException("WRONGPASS invalid username-password pair")));
        assertEquals(Kind.REDIS, library.kindOf(new RedisCommandExecutionException("NOPERM this user has no permissions")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new RedisCommandTimeoutException("Command timed out")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new ConnectTimeoutException("connection timed out")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new NoSuchElementException("Timeout waiting for idle object")));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisConnectionException("Unable to connect to 127.0.0.1")));
        assertEquals(Kind.CLOSED, library.kindOf(new IllegalStateException("LettuceConnectionFactory has been STOPPED")));
        assertNull(library.kindOf(new RedisConnectionFailureException("Unable to connect to Redis", null)));
        assertNull(library.kindOf(new NullPointerException()));
    }

    @Test
    void aTokenThatIsWaitedForTooLongIsATokenError() {
        try {
            Mono.never().block(Duration.ofMillis(1));
        } catch (RuntimeException e) {
            assertEquals(Kind.TOKEN, library.kindOf(e));
            return;
        }
        throw new AssertionError("block() came back");
    }
}
