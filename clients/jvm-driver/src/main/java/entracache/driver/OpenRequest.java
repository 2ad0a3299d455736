package entracache.driver;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;

/** The members of an open request. */
public final class OpenRequest {
    private final JsonNode request;

    /** @param capabilities what the library can do; a credential that is not among it is refused */
    public OpenRequest(JsonNode request, List<String> capabilities) throws Refusal {
        this.request = request;
        String needed = "credential:" + credentialKind();
        if (!capabilities.contains(needed)) {
            throw new Refusal(Kind.UNSUPPORTED, needed + " is not declared; the capabilities are " + capabilities);
        }
    }

    public String host() {
        return request.path("cache").path("host").asText();
    }

    public int port() {
        return request.path("cache").path("port").asInt();
    }

    /** Whether the cache is clustered: then the address leads to one of its nodes. */
    public boolean clustered() {
        return request.path("cache").path("cluster").asBoolean();
    }

    public Trust cacheTrust() throws Exception {
        return new Trust(request.path("cache").path("ca_pem").asText());
    }

    /** The certificates that are to be trusted, of the cache and of the issuer, for a library that keeps no two trusts apart. */
    public String pems() {
        return request.path("cache").path("ca_pem").asText() + "\n" + request.path("entra").path("ca_pem").asText();
    }

    /** Whether the client signs in with tokens; otherwise it does so with {@link #accessKey}. */
    public boolean usesTokens() {
        return !credentialKind().equals("access-key");
    }

    public String credentialKind() {
        return request.path("credential").path("kind").asText();
    }

    public String accessKey() {
        return request.path("credential").path("access_key").asText();
    }

    public String clientId() {
        return request.path("credential").path("client_id").asText();
    }

    public String clientSecret() {
        return request.path("credential").path("client_secret").asText();
    }

    /** A certificate and its key. */
    public String certificatePem() {
        return request.path("credential").path("certificate_pem").asText();
    }

    /** The file with the token of another issuer, for a workload identity. */
    public String tokenFile() {
        return request.path("credential").path("token_file").asText();
    }

    String authority() {
        return request.path("entra").path("authority").asText();
    }

    public String authorityHost() {
        return request.path("entra").path("authority_host").asText();
    }

    public String tenantId() {
        return request.path("entra").path("tenant_id").asText();
    }

    /** The user name that the application set itself; empty leaves it to the library. */
    public String username() {
        return request.path("username").asText();
    }

    Trust issuerTrust() throws Exception {
        return new Trust(request.path("entra").path("ca_pem").asText());
    }

    public Set<String> scopes() {
        Set<String> scopes = new TreeSet<>();
        request.path("scopes").forEach(scope -> scopes.add(scope.asText()));
        return scopes;
    }

    /** The RESP version asked for; empty leaves the library its own default, as in the other options. */
    public OptionalInt resp() {
        return option("resp");
    }

    public OptionalInt poolSize() {
        return option("pool_size");
    }

    public OptionalInt connectTimeoutMillis() {
        return option("connect_timeout_ms");
    }

    public OptionalInt commandTimeoutMillis() {
        return option("command_timeout_ms");
    }

    /**
     * How many times faster than real time this process's clock is. By so much is multiplied what bounds an exchange on the network in
     * the library by default, for the network is no faster.
     */
    public int clockRate() {
        return option("clock_rate").orElse(1);
    }

    private OptionalInt option(String name) {
        int value = request.path("options").path(name).asInt(0);
        return value == 0 ? OptionalInt.empty() : OptionalInt.of(value);
    }
}
