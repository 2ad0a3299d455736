package entracache.springdataredis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.ObjectMapper;
import entracache.driver.OpenRequest;
import entracache.driver.Refusal;
import java.util.List;
import org.junit.jupiter.api.Test;

class CredentialsTest {
    private final SpringDataRedisDriver library = new SpringDataRedisDriver();

    /** With a user name, so that no token is asked for. */
    private OpenRequest request(String kind) throws Exception {
        var json = new ObjectMapper().createObjectNode();
        json.put("username", "object-id").putArray("scopes").add("https://redis.azure.com/.default");
        json.putObject("entra").put("authority_host", "https://127.0.0.1:1").put("tenant_id", "00000000-0000-0000-0000-000000000001");
        json.putObject("credential").put("kind", kind).put("client_id", "00000000-0000-0000-0000-000000000002")
            .put("client_secret", "fake-secret").put("certificate_pem", "not read yet").put("token_file", "token");
        return new OpenRequest(json, library.capabilities());
    }

    @Test
    void everyKindThatIsDeclared() throws Exception {
        List<String> kinds = library.capabilities().stream().filter(name -> name.matches("credential:(?!access-key|username).*"))
            .map(name -> name.substring("credential:".length())).toList();
        assertEquals(4, kinds.size());
        for (String kind : kinds) {
            assertEquals("object-id", Credentials.of(request(kind)).getUsername(), kind);
        }
    }

    @Test
    void noOtherKind() {
        assertThrows(Refusal.class, () -> request("smile"));
    }
}
