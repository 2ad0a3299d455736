package entracache.driver;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.SocketTimeoutException;
import org.junit.jupiter.api.Test;
import redis.clients.authentication.core.TokenRequestException;
import redis.clients.authentication.entraid.RedisEntraIDException;

class EntraTest {
    @Test
    void whatAuthxSaysWithoutAToken() {
        assertTrue(Entra.isTokenError(new TokenRequestException(new SocketTimeoutException("late"), null)));
        assertTrue(Entra.isTokenError(new RedisEntraIDException("Failed to acquire token!")));
        assertFalse(Entra.isTokenError(new SocketTimeoutException("late")));
    }
}
