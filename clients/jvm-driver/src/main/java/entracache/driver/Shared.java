package entracache.driver;

import java.util.concurrent.atomic.AtomicInteger;

/** Something that several clients of an application use, and that ends with the last of them. */
public final class Shared<T> {
    private final T value;
    private final Runnable end;
    private final AtomicInteger users = new AtomicInteger(1);

    /** For its first user. */
    public Shared(T value, Runnable end) {
        this.value = value;
        this.end = end;
    }

    public T value() {
        return value;
    }

    /** For another user. */
    public Shared<T> use() {
        users.incrementAndGet();
        return this;
    }

    /** By each user, once. */
    public void release() {
        if (users.decrementAndGet() == 0) {
            end.run();
        }
    }
}
