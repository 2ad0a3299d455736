import com.azure.core.credential.TokenCredential;
import com.azure.core.credential.TokenRequestContext;
import com.azure.core.http.policy.ExponentialBackoffOptions;
import com.azure.core.http.policy.RetryOptions;
import com.azure.identity.ClientCertificateCredentialBuilder;
import com.azure.identity.ClientSecretCredentialBuilder;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.identity.WorkloadIdentityCredentialBuilder;
import com.azure.json.JsonProviders;
import com.azure.json.JsonReader;
import com.microsoft.aad.msal4j.ClientCredentialFactory;
import com.microsoft.aad.msal4j.ClientCredentialParameters;
import com.microsoft.aad.msal4j.ConfidentialClientApplication;
import com.microsoft.aad.msal4j.IClientCredential;
import com.microsoft.aad.msal4j.ManagedIdentityApplication;
import com.microsoft.aad.msal4j.ManagedIdentityId;
import com.microsoft.aad.msal4j.ManagedIdentityParameters;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Signs in with azure-identity or msal4j: one JSON object per line in, one out, each answered when it is done. */
public final class SignIn {
    private static final String SCOPE = "https://redis.azure.com/.default";
    private static final String RESOURCE = "https://redis.azure.com";
    /**
     * azure-identity is patient. How often it tries is all that is changed, and not even that for managed identities: for
     * IMDS, 1.18.6 has a policy of its own, refuses options beside it ("cannot both be set") and heeds no maxRetry.
     */
    private static final RetryOptions RETRIES = new RetryOptions(new ExponentialBackoffOptions().setMaxRetries(2));
    private static final Map<String, Callable<String>> CLIENTS = new ConcurrentHashMap<>();

    public static void main(String[] args) throws IOException {
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try (JsonReader reader = JsonProviders.createReader(line)) {
                Map<String, String> ask = reader.readMap(JsonReader::getString);
                threads.execute(() -> answer(ask));
            }
        }
        System.exit(0);
    }

    private static void answer(Map<String, String> ask) {
        String field;
        String value;
        try {
            Callable<String> client = CLIENTS.get(ask.get("session"));
            if (client == null) {
                client = ask.get("library").equals("msal4j") ? msal4j(ask) : azureIdentity(ask);
                CLIENTS.put(ask.get("session"), client);
            }
            value = client.call();
            field = "token";
        } catch (Exception e) { // whatever the library throws is its answer
            value = explain(e);
            field = "error";
        }
        StringWriter line = new StringWriter();
        try (var json = JsonProviders.createWriter(line)) {
            json.writeStartObject().writeStringField("id", ask.get("id"))
                .writeBooleanField("ok", field.equals("token")).writeStringField(field, value).writeEndObject();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
        System.out.println(line);
    }

    private static Callable<String> azureIdentity(Map<String, String> ask) {
        String authority = ask.get("authority"); // without one the library's own is used, as in an application
        TokenCredential credential = switch (ask.get("credential")) {
            case "client-secret" -> {
                var builder = new ClientSecretCredentialBuilder().retryOptions(RETRIES)
                    .tenantId(ask.get("tenant_id")).clientId(ask.get("client_id")).clientSecret(ask.get("secret"));
                yield (authority.isEmpty() ? builder : builder.authorityHost(authority).disableInstanceDiscovery()).build();
            }
            case "certificate" -> {
                var builder = new ClientCertificateCredentialBuilder().retryOptions(RETRIES)
                    .tenantId(ask.get("tenant_id")).clientId(ask.get("client_id")).pemCertificate(ask.get("certificate_file"));
                yield (authority.isEmpty() ? builder : builder.authorityHost(authority).disableInstanceDiscovery()).build();
            }
            case "workload-identity" -> {
                var builder = new WorkloadIdentityCredentialBuilder().retryOptions(RETRIES)
                    .tenantId(ask.get("tenant_id")).clientId(ask.get("client_id")).tokenFilePath(ask.get("assertion_file"));
                yield (authority.isEmpty() ? builder : builder.authorityHost(authority).disableInstanceDiscovery()).build();
            }
            default -> new ManagedIdentityCredentialBuilder().clientId(ask.get("client_id")).build();
        };
        return () -> credential.getTokenSync(new TokenRequestContext().addScopes(SCOPE)).getToken();
    }

    private static Callable<String> msal4j(Map<String, String> ask) throws Exception {
        if (ask.get("credential").equals("managed-identity")) {
            var identity = ManagedIdentityApplication
                .builder(ManagedIdentityId.userAssignedClientId(ask.get("client_id"))).build();
            return () -> identity
                .acquireTokenForManagedIdentity(ManagedIdentityParameters.builder(RESOURCE).build()).get().accessToken();
        }
        IClientCredential credential = switch (ask.get("credential")) {
            case "client-secret" -> ClientCredentialFactory.createFromSecret(ask.get("secret"));
            case "certificate" -> certificate(Files.readString(Path.of(ask.get("certificate_file"))));
            default -> {
                Callable<String> read = () -> Files.readString(Path.of(ask.get("assertion_file")));
                yield ClientCredentialFactory.createFromCallback(read);
            }
        };
        String host = ask.get("authority").isEmpty() ? "https://login.microsoftonline.com" : ask.get("authority");
        var client = ConfidentialClientApplication.builder(ask.get("client_id"), credential)
            .authority(host + "/" + ask.get("tenant_id"))
            .instanceDiscovery(ask.get("authority").isEmpty())
            .build();
        return () -> client.acquireToken(ClientCredentialParameters.builder(Set.of(SCOPE)).build()).get().accessToken();
    }

    private static IClientCredential certificate(String pem) throws Exception {
        String key = pem.replaceAll("(?s).*-----BEGIN PRIVATE KEY-----(.*?)-----END PRIVATE KEY-----.*", "$1");
        PrivateKey privateKey = KeyFactory.getInstance("RSA")
            .generatePrivate(new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(key)));
        X509Certificate certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(pem.getBytes(StandardCharsets.US_ASCII)));
        return ClientCredentialFactory.createFromCertificate(privateKey, certificate);
    }

    /** All that the caller can learn from an exception: its own text and those of its causes. */
    private static String explain(Throwable error) {
        StringBuilder text = new StringBuilder();
        for (Throwable e = error; e != null; e = e.getCause()) {
            text.append(text.isEmpty() ? "" : " <- ").append(e);
        }
        return text.toString();
    }
}
