package entracache.lettuce;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import entracache.driver.Kind;
import entracache.driver.Reply;
import io.lettuce.core.RedisBusyException;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisCommandTimeoutException;
import io.lettuce.core.RedisConnectionException;
import io.lettuce.core.RedisException;
import io.lettuce.core.protocol.RedisStateMachine;
import io.netty.buffer.Unpooled;
import io.netty.channel.ConnectTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.NoSuchElementException;
import org.junit.jupiter.api.Test;

class LettuceDriverTest {
    @Test
    void kindsOfErrors() {
        var library = new LettuceDriver();
        assertEquals(Kind.AUTH, library.kindOf(new RedisCommandExecutionException("ERR WRONGPASS invalid username-password pair")));
        assertEquals(Kind.REDIS, library.kindOf(new RedisBusyException("BUSY Redis is busy running a script")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new RedisCommandTimeoutException("Command timed out")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new ConnectTimeoutException("connection timed out")));
        assertEquals(Kind.TIMEOUT, library.kindOf(new NoSuchElementException("Timeout waiting for idle object")));
        assertEquals(Kind.CONFIG, library.kindOf(
            new RedisConnectionException("Renewable credentials are not supported with RESP2 protocol on a pub/sub connection.")));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisConnectionException("Unable to connect to 127.0.0.1")));
        assertEquals(Kind.NETWORK, library.kindOf(new RedisException("Connection closed")));
        assertEquals(Kind.CLOSED, library.kindOf(new IllegalStateException("Pool not open")));
        assertNull(library.kindOf(new NullPointerException()));
    }

    @Test
    void repliesOfEveryShape() {
        assertEquals("{type=bulk, value=PONG}", read("+PONG\r\n"));
        assertEquals("{type=bulk, value=hello}", read("$5\r\nhello\r\n"));
        assertEquals("{type=null}", read("$-1\r\n"));
        assertEquals("{type=null}", read("*-1\r\n"));
        assertEquals("{type=null}", read("_\r\n"));
        assertEquals("{type=integer, value=7}", read(":7\r\n"));
        assertEquals("{type=boolean, value=true}", read("#t\r\n"));
        assertEquals("{type=double, value=1.5}", read(",1.5\r\n"));
        assertEquals("{type=integer, value=99999999999999999999}", read("(99999999999999999999\r\n"));
        assertEquals("{type=array, value=[]}", read("*0\r\n"));
        assertEquals("{type=array, value=[{type=array, value=[]}, {type=array, value=[{type=integer, value=1}]}, {type=null}]}",
            read("*3\r\n*0\r\n*1\r\n:1\r\n$-1\r\n"));
        assertEquals("{type=map, value=[[{type=bulk, value=k}, {type=set, value=[{type=integer, value=1}]}]]}",
            read("%1\r\n+k\r\n~1\r\n:1\r\n"));
    }

    private static String read(String reply) {
        ReplyOutput output = new ReplyOutput();
        new RedisStateMachine().decode(Unpooled.copiedBuffer(reply, StandardCharsets.UTF_8), output);
        return Reply.of(output.get()).toString();
    }
}
