package entracache.jedis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import entracache.driver.Kind;
import java.util.NoSuchElementException;
import org.junit.jupiter.api.Test;
import redis.clients.jedis.exceptions.JedisAccessControlException;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;

class JedisDriverTest {
    @Test
    void kindsOfErrors() {
        var library = new JedisDriver();
        assertEquals(Kind.AUTH, library.kindOf(new JedisAccessControlException("WRONGPASS invalid username-password pair")));
        assertEquals(Kind.AUTH, library.kindOf(new JedisDataException("ERR WRONGPASS invalid username-password pair")));
        assertEquals(Kind.REDIS, library.kindOf(new JedisAccessControlException("NOPERM this user has no permissions")));
        assertEquals(Kind.NETWORK, library.kindOf(new JedisConnectionException("Unexpected end of stream.")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new NoSuchElementException("Timeout waiting for idle object")));
        assertEquals(Kind.CLOSED, library.kindOf(new IllegalStateException("Pool not open")));
        assertEquals(Kind.CONFIG, library.kindOf(new JedisException("Blocking pub/sub operations are not supported")));
        assertNull(library.kindOf(new JedisException("Could not get a resource from the pool", new NoSuchElementException())));
        assertNull(library.kindOf(new NullPointerException()));
    }
}
