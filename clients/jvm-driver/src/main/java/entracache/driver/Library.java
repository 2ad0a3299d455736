package entracache.driver;

import java.util.List;

/** A client library of Redis, as the harness wants to use it. */
public interface Library {
    /** The client folder's name. */
    String name();

    /** The Maven coordinates, {@code group:artifact}, of the library under test first, and of what it signs in with. */
    List<String> artifacts();

    List<String> capabilities();

    /** How long a token must live at least for the library to behave as with one of an hour; 0 if it has no fixed timers. */
    default int minTokenLifetimeMillis() {
        return 0;
    }

    /** How long the library's fixed timers take to notice and replace a dead connection; 0 if it has none. */
    default int recoveryMillis() {
        return 0;
    }

    /** Makes a client object, or throws what the library throws. Then nothing of it is left behind. */
    Client open(OpenRequest request, Events events) throws Exception;

    /** Makes a client object with the source of tokens of another, which is one of this library's. */
    Client open(OpenRequest request, Events events, Client other) throws Exception;

    /** The kind of one of the library's own exceptions, without regard to its causes; null for any other exception. TOKEN goes before all others. */
    Kind kindOf(Throwable error);

    /** A client object of the library. */
    interface Client {
        /** Runs one command and returns its reply in the Java types that {@link Reply} knows. */
        Object command(List<String> args) throws Exception;

        /** Returns once the library reports the subscription. */
        void subscribe(List<String> channels) throws Exception;

        /** Begins a transaction: sends what the library sends before EXEC. The keys to be watched may be none. */
        void begin(List<List<String>> commands, List<String> watch) throws Exception;

        /** Runs the transaction that was begun, and returns the replies, or null where the library says that a watched key had changed. */
        Object exec() throws Exception;

        /** Closes the client, and its source of tokens unless another client shares that. */
        void close() throws Exception;
    }

    /** What a client tells unasked. */
    interface Events {
        void message(String channel, String value);

        /** @param what refresh-failed, reauth-failed or the library's own word */
        void token(String what, Throwable error);
    }
}
