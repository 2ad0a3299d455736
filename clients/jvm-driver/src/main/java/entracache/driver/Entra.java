package entracache.driver;

import com.auth0.jwt.exceptions.JWTDecodeException;
import com.microsoft.aad.msal4j.ClientCredentialFactory;
import com.microsoft.aad.msal4j.ClientCredentialParameters;
import com.microsoft.aad.msal4j.ConfidentialClientApplication;
import com.microsoft.aad.msal4j.IClientCredential;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import redis.clients.authentication.core.AuthXException;
import redis.clients.authentication.core.TokenAuthConfig;
import redis.clients.authentication.entraid.EntraIDTokenAuthConfigBuilder;
import redis.clients.authentication.entraid.ManagedIdentityInfo.UserManagedIdentityType;
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

    /** The configuration that redis-authx-entraid's builders make for the kind of credential, with their defaults. */
    public static TokenAuthConfig config(OpenRequest request) throws Exception {
        return request.credentialKind().equals("managed-identity") ? managedIdentity(request) : servicePrincipal(request);
    }

    private static int requestTimeout(OpenRequest request) {
        return EntraIDTokenAuthConfigBuilder.DEFAULT_TOKEN_REQUEST_EXECUTION_TIMEOUT_IN_MS * request.clockRate();
    }

    /**
     * What {@code EntraIDTokenAuthConfigBuilder} makes of {@code clientId}, {@code secret} or {@code key}, {@code authority} and
     * {@code scopes}. The builder has no way to switch instance discovery off, nor to name trust roots, so the MSAL application
     * that it would make comes in through its custom supplier.
     */
    private static TokenAuthConfig servicePrincipal(OpenRequest request) throws Exception {
        IClientCredential credential = request.credentialKind().equals("certificate")
            ? certificate(request.certificatePem())
            : ClientCredentialFactory.createFromSecret(request.clientSecret());
        var application = ConfidentialClientApplication.builder(request.clientId(), credential)
            .authority(request.authority())
            .readTimeoutForDefaultHttpClient(requestTimeout(request))
            .instanceDiscovery(false) // it would ask login.microsoftonline.com about this issuer
            .sslSocketFactory(request.issuerTrust().sockets())
            .build();
        var parameters = ClientCredentialParameters.builder(request.scopes()).skipCache(true).build();
        return EntraIDTokenAuthConfigBuilder.builder()
            .tokenRequestExecTimeoutInMs(requestTimeout(request))
            .customEntraIdAuthenticationSupplier(() -> {
                try {
                    return application.acquireToken(parameters).get();
                } catch (InterruptedException | ExecutionException e) {
                    throw new RedisEntraIDException("Failed to acquire token!", e);
                }
            })
            .build();
    }

    private static IClientCredential certificate(String pem) throws Exception {
        String key = pem.replaceAll("(?s).*-----BEGIN PRIVATE KEY-----(.*?)-----END PRIVATE KEY-----.*", "$1");
        var privateKey = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(key)));
        var certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(pem.getBytes(StandardCharsets.US_ASCII)));
        return ClientCredentialFactory.createFromCertificate(privateKey, certificate);
    }

    /** The builder hands MSAL the scope as the resource that it is. */
    private static TokenAuthConfig managedIdentity(OpenRequest request) {
        Set<String> resource = request.scopes().stream().map(scope -> scope.replaceFirst("/\\.default$", "")).collect(Collectors.toSet());
        var builder = EntraIDTokenAuthConfigBuilder.builder().scopes(resource).tokenRequestExecTimeoutInMs(requestTimeout(request));
        return (request.clientId().isEmpty()
            ? builder.systemAssignedManagedIdentity()
            : builder.userAssignedManagedIdentity(UserManagedIdentityType.CLIENT_ID, request.clientId())).build();
    }

    /** Whether this is what redis-authx says when it has no token; what MSAL says, {@link Fault} knows. */
    public static boolean isTokenError(Throwable e) {
        return e instanceof AuthXException || e instanceof RedisEntraIDException || e instanceof JWTDecodeException;
    }
}
