package entracache.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class ReplyTest {
    @Test
    void repliesKeepTheirType() throws Exception {
        List<Object> reply = Arrays.asList("OK", "é".getBytes("UTF-8"), 7L, new BigInteger("8"), 1.5, Double.POSITIVE_INFINITY,
            Double.NEGATIVE_INFINITY, Double.NaN, null, true, new RuntimeException("ERR no"), List.of(), Set.of("m"), Map.of("k", 1L));
        assertEquals("{\"type\":\"array\",\"value\":[{\"type\":\"simple\",\"value\":\"OK\"},{\"type\":\"bulk\",\"value\":\"é\"},"
            + "{\"type\":\"integer\",\"value\":7},{\"type\":\"integer\",\"value\":8},{\"type\":\"double\",\"value\":1.5},"
            + "{\"type\":\"double\",\"value\":\"inf\"},{\"type\":\"double\",\"value\":\"-inf\"},{\"type\":\"double\",\"value\":\"nan\"},"
            + "{\"type\":\"null\"},{\"type\":\"boolean\",\"value\":true},{\"type\":\"error\",\"value\":\"ERR no\"},"
            + "{\"type\":\"array\",\"value\":[]},{\"type\":\"set\",\"value\":[{\"type\":\"simple\",\"value\":\"m\"}]},"
            + "{\"type\":\"map\",\"value\":[[{\"type\":\"simple\",\"value\":\"k\"},{\"type\":\"integer\",\"value\":1}]]}]}",
            new ObjectMapper().writeValueAsString(Reply.of(reply)));
        assertThrows(IllegalArgumentException.class, () -> Reply.of(new Object()));
    }
}
