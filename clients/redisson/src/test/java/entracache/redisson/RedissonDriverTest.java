package entracache.redisson;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import entracache.driver.Kind;
import io.netty.channel.ConnectTimeoutException;
import org.junit.jupiter.api.Test;
import org.redisson.RedissonShutdownException;
import org.redisson.client.RedisConnectionException;
import org.redisson.client.RedisException;
import org.redisson.client.RedisNodeNotFoundException;
import org.redisson.client.RedisResponseTimeoutException;
import org.redisson.client.RedisWrongPasswordException;

class RedissonDriverTest {
    @Test
    void kindsOfErrors() {
        var library = new RedissonDriver();
        assertEquals(Kind.AUTH, library.kindOf(new RedisWrongPasswordException("WRONGPASS invalid username-password pair. channel: []")));
        assertEquals(Kind.AUTH, library.kindOf(new RedisException("ERR WRONGPASS invalid username-password pair. channel: []")));
        assertEquals(Kind.REDIS, library.kindOf(new RedisException("NOPERM this user has no permissions. channel: []")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new RedisResponseTimeoutException("Redis server response timeout (3000 ms)")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new ConnectTimeoutException("connection timed out")));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisConnectionException("Unable to connect to Redis server")));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisNodeNotFoundException("Node hasn't been discovered yet")));
        assertEquals(Kind.CLOSED, library.kindOf(new RedissonShutdownException("Redisson is shutdown")));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisException(new IllegalStateException())));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisException("Unexpected exception while processing command")));
        assertNull(library.kindOf(new NullPointerException()));
    }
}
