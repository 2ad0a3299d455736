package entracache.springdataredis;

import com.azure.core.credential.TokenCredential;
import com.azure.core.util.HttpClientOptions;
import com.azure.identity.ClientCertificateCredentialBuilder;
import com.azure.identity.ClientSecretCredentialBuilder;
import com.azure.identity.CredentialBuilderBase;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.identity.WorkloadIdentityCredentialBuilder;
import com.azure.identity.extensions.implementation.enums.AuthProperty;
import com.azure.spring.cloud.autoconfigure.implementation.data.redis.lettuce.AzureRedisCredentials;
import com.azure.spring.cloud.autoconfigure.implementation.passwordless.properties.AzureRedisPasswordlessProperties;
import entracache.driver.OpenRequest;
import java.io.ByteArrayInputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.Properties;

/**
 * What the autoconfiguration makes of spring.cloud.azure.credential and spring.cloud.azure.profile, but without instance discovery,
 * which would ask login.microsoftonline.com about this issuer, and with longer timeouts where this process's clock is faster than the
 * network: no property says either. And the issuer's address comes in below MSAL, which never finds a token in its memory again
 * if the authority has a port: it keeps it under the host, and looks it up under host and port.
 */
final class Credentials {
    private Credentials() {
    }

    static AzureRedisCredentials of(OpenRequest request) {
        var properties = new AzureRedisPasswordlessProperties() {
            @Override
            public Properties toPasswordlessProperties() {
                Properties properties = super.toPasswordlessProperties();
                AuthProperty.GET_TOKEN_TIMEOUT.setProperty(properties, String.valueOf(30 * request.clockRate())); // 30 s by default
                return properties;
            }
        };
        properties.setScopes(String.join(" ", request.scopes()));
        return new AzureRedisCredentials(request.username(), properties, credential(request));
    }

    /** For a workload identity it is the one of DefaultAzureCredential's chain that is for these, since the environment of a pod is the whole process's. */
    private static TokenCredential credential(OpenRequest request) {
        return switch (request.credentialKind()) {
            case "client-secret" -> atIssuer(new ClientSecretCredentialBuilder(), request).disableInstanceDiscovery()
                .tenantId(request.tenantId()).clientId(request.clientId()).clientSecret(request.clientSecret()).build();
            case "certificate" -> atIssuer(new ClientCertificateCredentialBuilder(), request).disableInstanceDiscovery()
                .tenantId(request.tenantId()).clientId(request.clientId())
                .pemCertificate(new ByteArrayInputStream(request.certificatePem().getBytes(StandardCharsets.US_ASCII))).build();
            case "workload-identity" -> patient(new WorkloadIdentityCredentialBuilder(), request).disableInstanceDiscovery()
                .authorityHost(request.authorityHost()) // it asks the issuer past the pipeline
                .tenantId(request.tenantId()).clientId(request.clientId()).tokenFilePath(request.tokenFile()).build();
            case "managed-identity" -> patient(new ManagedIdentityCredentialBuilder(), request)
                .clientId(request.clientId().isEmpty() ? null : request.clientId()).build();
            default -> throw new IllegalArgumentException("credential kind " + request.credentialKind());
        };
    }

    private static <B extends CredentialBuilderBase<B>> B atIssuer(B builder, OpenRequest request) {
        return patient(builder, request).addPolicy((call, next) -> {
            call.getHttpRequest().setUrl(at(request.authorityHost(), call.getHttpRequest().getUrl()));
            return next.process();
        });
    }

    private static String at(String authorityHost, URL url) {
        return authorityHost + url.getFile();
    }

    private static <B extends CredentialBuilderBase<B>> B patient(B builder, OpenRequest request) {
        int rate = request.clockRate();
        var http = new HttpClientOptions();
        http.setConnectTimeout(http.getConnectTimeout().multipliedBy(rate));
        http.setWriteTimeout(http.getWriteTimeout().multipliedBy(rate));
        http.setResponseTimeout(http.getResponseTimeout().multipliedBy(rate));
        http.setReadTimeout(http.getReadTimeout().multipliedBy(rate));
        return builder.clientOptions(http);
    }
}
