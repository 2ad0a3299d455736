package entracache.driver;

import java.util.List;
import java.util.concurrent.CountDownLatch;

/** A driver whose library prints to stdout: from its class initializer, and with every command. */
public final class NoisyDriver implements Library {
    static {
        System.out.println("{noise of a class");
    }

    /** What this library says when it has no token. */
    static final class NoToken extends RuntimeException {
        NoToken(Throwable cause) {
            super(cause);
        }
    }

    /** The main class is another: a class is initialized before its own main. */
    public static final class Main {
        public static void main(String[] args) {
            Driver.run(NoisyDriver::new);
        }
    }

    @Override
    public String name() {
        return "noisy";
    }

    @Override
    public List<String> artifacts() {
        return List.of();
    }

    @Override
    public List<String> capabilities() {
        return List.of("credential:access-key");
    }

    @Override
    public Kind kindOf(Throwable error) {
        return error instanceof NoToken ? Kind.TOKEN : null;
    }

    @Override
    public Client open(OpenRequest request, Events events, Client other) {
        return open(request, events);
    }

    @Override
    public Client open(OpenRequest request, Events events) {
        CountDownLatch closed = new CountDownLatch(1);
        return new Client() {
            @Override
            public Object command(List<String> args) throws Exception {
                System.out.println("{noise of a command");
                if (args.get(0).equals("WAIT")) {
                    closed.await();
                    throw new IllegalArgumentException("interrupted by close");
                }
                return args.get(0).repeat(args.size() > 1 ? Integer.parseInt(args.get(1)) : 1);
            }

            @Override
            public void subscribe(List<String> channels) {
                channels.forEach(channel -> events.message(channel, "\u2028 é"));
            }

            @Override
            public void begin(List<List<String>> commands, List<String> watch) {
            }

            @Override
            public Object exec() {
                return List.of();
            }

            @Override
            public void close() {
                closed.countDown();
            }
        };
    }
}
