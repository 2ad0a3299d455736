package entracache.driver;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.Collection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/** Trust in the certificates of a PEM and in nothing else; without a PEM, in those that Java trusts by itself. */
public final class Trust {
    private final TrustManagerFactory managers;

    Trust(String pem) throws Exception {
        managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(pem.isEmpty() ? null : store(certificates(pem)));
    }

    public static Collection<? extends Certificate> certificates(String pem) throws Exception {
        return CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem.getBytes(StandardCharsets.UTF_8)));
    }

    public static KeyStore store(Collection<? extends Certificate> roots) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        for (Certificate root : roots) {
            store.setCertificateEntry("root-" + store.size(), root);
        }
        return store;
    }

    public TrustManagerFactory managers() {
        return managers;
    }

    public SSLSocketFactory sockets() throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context.getSocketFactory();
    }
}
