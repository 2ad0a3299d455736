package entracache.driver;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A reply in the protocol's terms. */
public final class Reply {
    private Reply() {
    }

    /**
     * A reply from the Java types that the libraries use: a String is a simple string and a byte[] a bulk string.
     *
     * @throws IllegalArgumentException if the type is none of these
     */
    public static Map<String, Object> of(Object value) {
        if (value == null) {
            return typed("null", null);
        } else if (value instanceof byte[] bytes) {
            return typed("bulk", text(bytes));
        } else if (value instanceof String text) {
            return typed("simple", text);
        } else if (value instanceof Long || value instanceof Integer || value instanceof BigInteger) {
            return typed("integer", value);
        } else if (value instanceof Double number) {
            return typed("double", number.isNaN() ? "nan" : number.isInfinite() ? (number > 0 ? "inf" : "-inf") : number);
        } else if (value instanceof Boolean) {
            return typed("boolean", value);
        } else if (value instanceof Set<?> members) {
            return typed("set", members.stream().map(Reply::of).toList());
        } else if (value instanceof List<?> items) {
            return typed("array", items.stream().map(Reply::of).toList());
        } else if (value instanceof Map<?, ?> map) {
            return typed("map", map.entrySet().stream().map(entry -> List.of(of(entry.getKey()), of(entry.getValue()))).toList());
        } else if (value instanceof Throwable error) {
            return typed("error", error.getMessage());
        }
        throw new IllegalArgumentException("a reply of type " + value.getClass().getName() + ", which the protocol has no name for");
    }

    public static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static Map<String, Object> typed(String type, Object value) {
        Map<String, Object> typed = new LinkedHashMap<>();
        typed.put("type", type);
        if (value != null) {
            typed.put("value", value);
        }
        return typed;
    }
}
