package entracache.driver;

import com.auth0.jwt.exceptions.JWTDecodeException;
import com.microsoft.aad.msal4j.ClientCredentialFactory;
import com.microsoft.aad.msal4j.ClientCredentialParameters;
import com.microsoft.aad.msal4j.ConfidentialClientApplication;
import java.util.concurrent.ExecutionException;
import redis.clients.authentication.core.AuthXException;
import redis.clients.authentication.core.TokenAuthConfig;
import redis.clients.authentication.entraid.EntraIDTokenAuthConfigBuilder;
import redis.clients.authentication.entraid.RedisEntraIDException;

/** The source of tokens that Jedis, Lettuce and Redisson share: redis-authx-entraid. */
public final class Entra {
    /**
     * redis-authx renews at three quarters of a token's life, but two minutes before its end at the latest: a token that lives
     * for two minutes or less is renewed without a pause. The README says why 175 seconds are enough.
     */
    public static final int MIN_TOKEN_LIFETIME_MILLIS = 175_000;

    private Entra() {
    }

    /**
     * What {@code EntraIDTokenAuthConfigBuilder} makes of {@code clientId}, {@code secret}, {@code authority} and {@code scopes},
     * with its defaults. The builder has no way to switch instance discovery off, nor to name trust roots, so the MSAL
     * application that it would make comes in through its custom supplier.
     */
    public static TokenAuthConfig config(OpenRequest request) throws Exception {
        int requestTimeout = EntraIDTokenAuthConfigBuilder.DEFAULT_TOKEN_REQUEST_EXECUTION_TIMEOUT_IN_MS * request.clockRate();
        var credential = ClientCredentialFactory.createFromSecret(request.clientSecret());
        var application = ConfidentialClientApplication.builder(request.clientId(), credential)
            .authority(request.authority())
            .readTimeoutForDefaultHttpClient(requestTimeout)
            .instanceDiscovery(false) // it would ask login.microsoftonline.com about this issuer
            .sslSocketFactory(request.issuerTrust().sockets())
            .build();
        var parameters = ClientCredentialParameters.builder(request.scopes()).skipCache(true).build();
        return EntraIDTokenAuthConfigBuilder.builder()
            .tokenRequestExecTimeoutInMs(requestTimeout)
            .customEntraIdAuthenticationSupplier(() -> {
                try {
                    return application.acquireToken(parameters).get();
                } catch (InterruptedException | ExecutionException e) {
                    throw new RedisEntraIDException("Failed to acquire token!", e);
                }
            })
            .build();
    }

    /** Whether this is what redis-authx says when it has no token; what MSAL says, {@link Fault} knows. */
    public static boolean isTokenError(Throwable e) {
        return e instanceof AuthXException || e instanceof RedisEntraIDException || e instanceof JWTDecodeException;
    }
}
