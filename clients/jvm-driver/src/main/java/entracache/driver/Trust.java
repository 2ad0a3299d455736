package entracache.driver;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/** Trust in the certificates of a PEM and in nothing else; without a PEM, in those that Java trusts by itself. */
public final class Trust {
    private final TrustManagerFactory managers;

    Trust(String pem) throws Exception {
        KeyStore roots = null;
        if (!pem.isEmpty()) {
            roots = KeyStore.getInstance(KeyStore.getDefaultType());
            roots.load(null, null);
            var bytes = new ByteArrayInputStream(pem.getBytes(StandardCharsets.UTF_8));
            for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(bytes)) {
                roots.setCertificateEntry("root-" + roots.size(), root);
            }
        }
        managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(roots);
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
