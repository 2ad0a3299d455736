package entracache.driver;

/** The driver's own "no". */
public final class Refusal extends Exception {
    final Kind kind;

    public Refusal(Kind kind, String message) {
        super(message);
        this.kind = kind;
    }
}
