package entracache.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** The conversation, with a library that is none. */
class DriverTest {
    private static final String OPEN = "\"op\":\"open\",\"client\":\"c\",\"cache\":{\"host\":\"127.0.0.1\",\"port\":1},"
        + "\"credential\":{\"kind\":\"access-key\",\"access_key\":\"k\"}";

    @Test
    void whatALibraryPrintsGoesToStderr() throws Exception {
        try (var driver = new RunningDriver(NoisyDriver.Main.class.getName())) {
            assertTrue(driver.ask(OPEN).path("ok").asBoolean());
            assertEquals("PING", driver.ask("\"op\":\"command\",\"client\":\"c\",\"args\":[\"PING\"]").at("/reply/value").asText());
            assertTrue(driver.ask("\"op\":\"shutdown\"").path("ok").asBoolean());
            assertEquals(0, driver.waitForExit());
            assertTrue(driver.rest().isEmpty(), driver.rest().toString());
            assertTrue(driver.stderr().contains("{noise of a class"), driver.stderr());
            assertTrue(driver.stderr().contains("{noise of a command"), driver.stderr());
        }
    }

    @Test
    void aCommandThatWaitsHoldsUpNobodyAndEndsAsClosed() throws Exception {
        try (var driver = new RunningDriver(NoisyDriver.Main.class.getName())) {
            driver.ask(OPEN);
            int waiting = driver.send("\"op\":\"command\",\"client\":\"c\",\"args\":[\"WAIT\"]");
            assertEquals("unsupported", driver.kindOfError("\"op\":\"dance\""));
            driver.send("\"op\":\"close\",\"client\":\"c\"");
            for (var reply = driver.next(); ; reply = driver.next()) {
                if (reply.path("id").asInt() == waiting) {
                    assertEquals("closed", reply.at("/error/kind").asText());
                    break;
                }
            }
        }
    }

    @Test
    void aCommandThatStillWaitsDoesNotHoldUpTheEnd() throws Exception {
        try (var driver = new RunningDriver(NoisyDriver.Main.class.getName())) {
            driver.ask(OPEN);
            driver.send("\"op\":\"command\",\"client\":\"c\",\"args\":[\"WAIT\"]");
            driver.endStdin();
            assertEquals(0, driver.waitForExit());
        }
    }

    @Test
    void linesOfAnyLengthAndAnyCharacter() throws Exception {
        try (var driver = new RunningDriver(NoisyDriver.Main.class.getName())) {
            driver.sendLine("{broken");
            driver.sendLine("[1]");
            driver.ask(OPEN);
            assertEquals("unsupported", driver.kindOfError("\"op\":\"\u2028é" + "x".repeat(1 << 19) + "\""));
            driver.send("\"op\":\"subscribe\",\"client\":\"c\",\"channels\":[\"news\"]");
            assertEquals("\u2028 é", driver.next().path("value").asText());
            assertTrue(driver.next().path("ok").asBoolean());
            String tooLong = "\"op\":\"command\",\"client\":\"c\",\"args\":[\"x\",\"" + (1 << 20) + "\"]";
            assertEquals("unsupported", driver.kindOfError(tooLong));
        }
    }

    @Test
    void aBugOfTheDriverIsInternal() throws Exception {
        try (var driver = new RunningDriver(NoisyDriver.Main.class.getName())) {
            driver.ask(OPEN);
            assertEquals("internal", driver.kindOfError("\"op\":\"command\",\"client\":\"c\",\"args\":[\"x\",\"many\"]"));
        }
    }
}
