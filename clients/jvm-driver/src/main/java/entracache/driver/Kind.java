package entracache.driver;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The protocol's closed list of kinds of error. */
public enum Kind {
    @JsonProperty("redis") REDIS,
    @JsonProperty("auth") AUTH,
    @JsonProperty("token") TOKEN,
    @JsonProperty("network") NETWORK,
    @JsonProperty("timeout") TIMEOUT,
    @JsonProperty("config") CONFIG,
    @JsonProperty("closed") CLOSED,
    @JsonProperty("unsupported") UNSUPPORTED,
    @JsonProperty("internal") INTERNAL;

    /** The kind of an error that the server sent. Azure is known to put "ERR " before the word that Redis starts with. */
    public static Kind ofServerError(String message) {
        return message.matches("(?s)(ERR )?(WRONGPASS|NOAUTH)\\b.*") ? AUTH : REDIS;
    }
}
