package entracache.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The manners of the driver of the folder in which the tests run, without a cache or an issuer. */
class MannersTest {
    private static RunningDriver start() throws IOException {
        return new RunningDriver(System.getProperty("driver.main"));
    }

    private static String openWithKey(int port) {
        return "\"op\":\"open\",\"client\":\"c\",\"cache\":{\"host\":\"127.0.0.1\",\"port\":" + port + "},"
            + "\"credential\":{\"kind\":\"access-key\",\"access_key\":\"k\"},"
            + "\"options\":{\"connect_timeout_ms\":500,\"command_timeout_ms\":500}";
    }

    private static int closedPort() throws IOException {
        try (var listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return listener.getLocalPort();
        }
    }

    @Test
    void helloTellsWhatIsInstalledAndWhatIsPinned() throws Exception {
        try (var driver = start()) {
            JsonNode reply = driver.ask("\"op\":\"hello\",\"protocol\":1,\"harness\":\"test\"");
            assertTrue(reply.path("ok").asBoolean(), reply.toString());
            String yaml = Files.readString(Path.of("client.yaml"));
            String pom = Files.readString(Path.of("pom.xml"));
            assertEquals(found("name: (\\S+)", yaml).get(0), reply.at("/driver/name").asText());
            assertEquals(found("library: (\\S+)", yaml).get(0), reply.at("/driver/libraries/0/name").asText());
            assertEquals(found("<library.version>(.+)</library.version>", pom).get(0), reply.at("/driver/libraries/0/version").asText());
            List<String> capabilities = new ArrayList<>();
            reply.path("capabilities").forEach(capability -> capabilities.add(capability.asText()));
            assertEquals(found("  - (\\S+)\n", yaml.split("capabilities:")[1]), capabilities);
            assertEquals("unsupported", driver.kindOfError("\"op\":\"hello\",\"protocol\":2"));
        }
    }

    private static List<String> found(String pattern, String text) {
        return Pattern.compile(pattern).matcher(text).results().map(match -> match.group(1)).toList();
    }

    @Test
    void whatItDoesNotKnowItRefusesByName() throws Exception {
        try (var driver = start()) {
            assertEquals("unsupported", driver.kindOfError("\"op\":\"dance\""));
            assertEquals("unsupported", driver.kindOfError(openWithKey(1).replace("access-key", "smile")));
            assertEquals("closed", driver.kindOfError("\"op\":\"command\",\"client\":\"c\",\"args\":[\"PING\"]"));
            assertEquals("closed", driver.kindOfError("\"op\":\"subscribe\",\"client\":\"c\",\"channels\":[\"news\"]"));
            assertEquals("closed", driver.kindOfError("\"op\":\"close\",\"client\":\"c\""));
        }
    }

    @Test
    void anOpenThatFailsLeavesNoClient() throws Exception {
        try (var driver = start()) {
            int port = closedPort();
            JsonNode reply = driver.ask(openWithKey(port));
            if (reply.path("ok").asBoolean()) { // it connects with the first command
                assertEquals("config", driver.kindOfError(openWithKey(port)));
                reply = driver.ask("\"op\":\"command\",\"client\":\"c\",\"args\":[\"PING\"]");
                assertTrue(driver.ask("\"op\":\"close\",\"client\":\"c\"").path("ok").asBoolean());
            }
            assertEquals("network", reply.at("/error/kind").asText(), reply.toString());
            assertEquals("closed", driver.kindOfError("\"op\":\"close\",\"client\":\"c\""));
        }
    }
}
