package entracache.lettuce;

import entracache.driver.Reply;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.output.CommandOutput;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;

/**
 * A reply of whatever type, as far as Lettuce tells: not a simple string from a bulk string. Its own ObjectOutput takes no reply that is
 * a string and nothing else.
 */
final class ReplyOutput extends CommandOutput<byte[], byte[], Object> {
    private enum Shape { ARRAY, SET, MAP }

    private record Open(Shape shape, int size, List<Object> items) {
        Object closed() {
            return switch (shape) {
                case ARRAY -> items;
                case SET -> new LinkedHashSet<>(items);
                case MAP -> {
                    Map<Object, Object> map = new LinkedHashMap<>();
                    for (int i = 0; i < size; i += 2) {
                        map.put(items.get(i), items.get(i + 1));
                    }
                    yield map;
                }
            };
        }
    }

    private final Deque<Open> open = new ArrayDeque<>();

    ReplyOutput() {
        super(ByteArrayCodec.INSTANCE, null);
    }

    @Override
    public void set(ByteBuffer bytes) {
        add(bytes == null ? null : codec.decodeValue(bytes));
    }

    @Override
    public void setBigNumber(ByteBuffer bytes) {
        add(new BigInteger(Reply.text(codec.decodeValue(bytes))));
    }

    @Override
    public void set(long integer) {
        add(integer);
    }

    @Override
    public void set(double number) {
        add(number);
    }

    @Override
    public void set(boolean value) {
        add(value);
    }

    @Override
    public void multi(int count) {
        begin(Shape.ARRAY, count);
    }

    @Override
    public void multiSet(int count) {
        begin(Shape.SET, count);
    }

    @Override
    public void multiMap(int count) {
        begin(Shape.MAP, 2 * count);
    }

    private void begin(Shape shape, int size) {
        if (size < 0) {
            add(null); // RESP2's null array
        } else {
            close(new Open(shape, size, new ArrayList<>(size)));
        }
    }

    private void close(Open begun) {
        if (begun.items.size() < begun.size) {
            open.push(begun);
        } else {
            add(begun.closed());
        }
    }

    private void add(Object value) {
        if (open.isEmpty()) {
            output = value;
            return;
        }
        Open parent = open.pop();
        parent.items.add(value);
        close(parent);
    }
}
