package entracache.driver;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A driver in a process of its own. */
final class RunningDriver implements AutoCloseable {
    private static final long LONG_SECONDS = 60; // the bound of everything that must happen

    private final ObjectMapper json = new ObjectMapper();
    private final BlockingQueue<String> lines = new LinkedBlockingQueue<>();
    private final Process process;
    private final Path stderr;
    private int lastId;

    RunningDriver(String mainClass) throws IOException {
        stderr = Files.createTempFile("driver", ".stderr");
        process = new ProcessBuilder(System.getProperty("java.home") + File.separator + "bin" + File.separator + "java",
            "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), mainClass)
            .redirectError(stderr.toFile()).start();
        Thread reader = new Thread(() -> {
            try (BufferedReader in = process.inputReader(StandardCharsets.UTF_8)) {
                for (String line = in.readLine(); line != null; line = in.readLine()) {
                    lines.add(line);
                }
            } catch (IOException e) { // the process was ended
                lines.add(e.toString());
            }
        });
        reader.setDaemon(true);
        reader.start();
    }

    /** Sends {@code {"id":…,<members>}} and returns the id. */
    int send(String members) throws IOException {
        sendLine("{\"id\":" + ++lastId + "," + members + "}");
        return lastId;
    }

    void sendLine(String line) throws IOException {
        process.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
    }

    JsonNode next() throws Exception {
        String line = lines.poll(LONG_SECONDS, TimeUnit.SECONDS);
        if (line == null) {
            throw new AssertionError("no line from the driver; on stderr it said: " + stderr());
        }
        return json.readTree(line);
    }

    JsonNode ask(String members) throws Exception {
        int id = send(members);
        JsonNode reply = next();
        while (reply.has("event")) {
            reply = next();
        }
        if (reply.path("id").asInt() != id) {
            throw new AssertionError("expected the answer to request " + id + ", got " + reply);
        }
        return reply;
    }

    String kindOfError(String members) throws Exception {
        JsonNode reply = ask(members);
        if (reply.path("ok").asBoolean(true)) {
            throw new AssertionError("expected an error in answer to " + members + ", got " + reply);
        }
        return reply.path("error").path("kind").asText();
    }

    int waitForExit() throws InterruptedException {
        if (!process.waitFor(LONG_SECONDS, TimeUnit.SECONDS)) {
            throw new AssertionError("the driver still runs");
        }
        return process.exitValue();
    }

    void endStdin() throws IOException {
        process.getOutputStream().close();
    }

    /** The lines that nobody has asked for; all of them, once the process has ended. */
    List<String> rest() {
        return List.copyOf(lines);
    }

    String stderr() throws IOException {
        return Files.readString(stderr);
    }

    @Override
    public void close() throws Exception {
        process.destroyForcibly().waitFor();
        Files.delete(stderr);
    }
}
