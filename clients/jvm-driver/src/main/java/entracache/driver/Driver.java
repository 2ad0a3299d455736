package entracache.driver;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;

/**
 * The conversation with the harness, in lines of JSON: requests on stdin, replies and events on stdout, in any order. Every request
 * runs in a thread of its own, so that a blocking command holds up nobody. Nothing here knows about Redis.
 */
public final class Driver {
    private static final int PROTOCOL = 1;
    private static final int MAX_LINE = 1 << 20; // bytes; the protocol's limit for one message

    private final ObjectMapper json = new ObjectMapper();
    private final Library library;
    private final OutputStream out;
    private final Map<String, Session> sessions = new ConcurrentHashMap<>();

    private Driver(Library library, OutputStream out) {
        this.library = library;
        this.out = out;
    }

    /** Serves the harness until it says shutdown or stdin ends, and ends the process. */
    public static void run(Supplier<Library> library) {
        // Before any class of the library is loaded: the protocol keeps the real stdout for itself, and what is printed from now
        // on goes to stderr, where it cannot land inside a line of JSON.
        OutputStream out = new FileOutputStream(FileDescriptor.out);
        System.setOut(System.err);
        try {
            new Driver(library.get(), out).serve(System.in);
        } catch (IOException e) {
            e.printStackTrace();
            System.exit(1);
        }
        System.exit(0); // a library's threads would keep the process alive
    }

    private void serve(InputStream in) throws IOException {
        ExecutorService threads = Executors.newCachedThreadPool();
        var lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = parse(line);
            if (request == null || !request.path("id").isIntegralNumber()) {
                System.err.println("driver: not a request, ignored: " + line.substring(0, Math.min(200, line.length())));
                continue;
            }
            if (request.path("op").asText().equals("shutdown")) {
                send(reply(request, true));
                return;
            }
            threads.execute(() -> answer(request));
        }
    }

    private JsonNode parse(String line) {
        try {
            return json.readTree(line);
        } catch (JsonProcessingException e) {
            return null;
        }
    }

    private void answer(JsonNode request) {
        Map<String, Object> reply = reply(request, true);
        try {
            switch (request.path("op").asText()) {
                case "hello" -> reply.putAll(hello(request));
                case "open" -> open(request);
                case "command" -> reply.put("reply", Reply.of(session(request).command(strings(request.path("args")))));
                case "subscribe" -> session(request).client.subscribe(strings(request.path("channels")));
                case "begin" -> begin(request);
                case "exec" -> reply.put("reply", Reply.of(session(request).client.exec()));
                case "close" -> close(request);
                default -> throw new Refusal(Kind.UNSUPPORTED,
                    "op " + request.path("op") + ": expected hello, open, command, subscribe, begin, exec, close or shutdown");
            }
        } catch (Throwable error) { // an Error of the library is its user's, too
            Fault fault = Fault.of(error, library);
            if (fault.kind() == Kind.INTERNAL) {
                error.printStackTrace();
            }
            reply = reply(request, false);
            reply.put("error", fault);
        }
        send(reply);
    }

    private Map<String, Object> hello(JsonNode request) throws Refusal, IOException {
        if (request.path("protocol").asInt() != PROTOCOL) {
            throw new Refusal(Kind.UNSUPPORTED, "this driver speaks protocol " + PROTOCOL + ", not " + request.path("protocol"));
        }
        List<Map<String, String>> libraries = new ArrayList<>();
        for (String artifact : library.artifacts()) {
            libraries.add(Map.of("name", artifact, "version", version(artifact)));
        }
        return Map.of(
            "protocol", PROTOCOL,
            "driver", Map.of(
                "name", library.name(),
                "language", "java",
                "libraries", libraries,
                "runtime", System.getProperty("java.vm.name") + " " + System.getProperty("java.version"),
                "os", (System.getProperty("os.name") + "/" + System.getProperty("os.arch")).toLowerCase()),
            "capabilities", library.capabilities(),
            "limits", Map.of("min_token_lifetime_ms", library.minTokenLifetimeMillis(), "recovery_ms", library.recoveryMillis()));
    }

    /** The version in the file that Maven puts into every jar. */
    private static String version(String artifact) throws IOException {
        String file = "/META-INF/maven/" + artifact.replace(':', '/') + "/pom.properties";
        try (InputStream in = Driver.class.getResourceAsStream(file)) {
            if (in == null) {
                throw new IOException("no " + file + " among the installed jars");
            }
            Properties properties = new Properties();
            properties.load(in);
            return properties.getProperty("version");
        }
    }

    private void open(JsonNode request) throws Exception {
        String name = request.path("client").asText();
        OpenRequest open = new OpenRequest(request, library.capabilities());
        if (sessions.containsKey(name)) {
            throw new Refusal(Kind.CONFIG, "client \"" + name + "\" is open already: close it first");
        }
        String other = request.path("provider_of").asText();
        sessions.put(name, new Session(other.isEmpty()
            ? library.open(open, events(name))
            : library.open(open, events(name), there(request, sessions.get(other)).client)));
    }

    private void begin(JsonNode request) throws Exception {
        List<List<String>> commands = new ArrayList<>();
        request.path("commands").forEach(args -> commands.add(strings(args)));
        session(request).client.begin(commands, strings(request.path("watch")));
    }

    private Library.Events events(String name) {
        return new Library.Events() {
            @Override
            public void message(String channel, String value) {
                send(Map.of("event", "message", "client", name, "channel", channel, "value", value));
            }

            @Override
            public void token(String what, Throwable error) {
                send(Map.of("event", "token", "client", name, "what", what, "error", Fault.of(error, library)));
            }
        };
    }

    private Session session(JsonNode request) throws Refusal {
        return there(request, sessions.get(request.path("client").asText()));
    }

    private void close(JsonNode request) throws Exception {
        Session session = there(request, sessions.remove(request.path("client").asText()));
        session.closed = true;
        session.client.close();
    }

    private static Session there(JsonNode request, Session session) throws Refusal {
        if (session == null) {
            throw new Refusal(Kind.CLOSED, "client " + request.path("client") + " is not open: it was closed, or never opened");
        }
        return session;
    }

    private static List<String> strings(JsonNode array) {
        List<String> strings = new ArrayList<>();
        array.forEach(node -> strings.add(node.asText()));
        return strings;
    }

    private static Map<String, Object> reply(JsonNode request, boolean ok) {
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("id", request.path("id"));
        reply.put("ok", ok);
        return reply;
    }

    private void send(Map<String, Object> message) {
        try {
            byte[] line = json.writeValueAsBytes(message);
            if (line.length > MAX_LINE) {
                String excess = "the message has " + line.length + " bytes, the protocol allows " + MAX_LINE;
                System.err.println("driver: not sent: " + excess);
                if (!message.containsKey("id")) {
                    return;
                }
                line = json.writeValueAsBytes(
                    Map.of("id", message.get("id"), "ok", false, "error", Fault.of(Kind.UNSUPPORTED, excess)));
            }
            synchronized (out) {
                out.write(line);
                out.write('\n');
            }
        } catch (IOException e) { // the harness is gone; the end of stdin follows
            System.err.println("driver: not sent: " + e);
        }
    }

    private static final class Session {
        final Library.Client client;
        volatile boolean closed;

        Session(Library.Client client) {
            this.client = client;
        }

        Object command(List<String> args) throws Exception {
            try {
                return client.command(args);
            } catch (Exception e) {
                if (closed) {
                    throw new Refusal(Kind.CLOSED, "closed while the command ran: " + e);
                }
                throw e;
            }
        }
    }
}
