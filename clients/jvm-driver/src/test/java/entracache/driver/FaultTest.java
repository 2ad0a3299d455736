package entracache.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.microsoft.aad.msal4j.MsalClientException;
import java.net.ConnectException;
import java.net.SocketTimeoutException;
import java.security.cert.CertificateException;
import java.util.concurrent.ExecutionException;
import javax.net.ssl.SSLHandshakeException;
import org.junit.jupiter.api.Test;

class FaultTest {
    private static Fault of(Throwable error) {
        return Fault.of(error, new NoisyDriver());
    }

    private static Throwable wrapped(Throwable cause) {
        return new IllegalStateException("outer", new ExecutionException("inner", cause));
    }

    @Test
    void theInnermostThatSaysSomethingCounts() {
        assertEquals(new Fault(Kind.NETWORK, "refused", null, "java.net.ConnectException"), of(wrapped(new ConnectException("refused"))));
        assertEquals(Kind.TIMEOUT, of(wrapped(new SocketTimeoutException("Read timed out"))).kind());
        assertEquals(Kind.NETWORK, of(new SSLHandshakeException("PKIX").initCause(new CertificateException("PKIX"))).kind());
        assertEquals(Kind.INTERNAL, of(new IllegalStateException("bug")).kind());
        assertEquals(new Fault(Kind.CLOSED, "no", null, null), of(new Refusal(Kind.CLOSED, "no")));
    }

    @Test
    void aTokenThatCouldNotBeHadIsATokenErrorWhateverTheReason() {
        var msal = new MsalClientException(new ConnectException("refused"));
        assertEquals(Kind.TOKEN, of(wrapped(msal)).kind());
        assertEquals(Kind.TOKEN, of(new NoisyDriver.NoToken(new SocketTimeoutException("late"))).kind());
    }

    @Test
    void aCauseThatIsItsOwnCauseIsNoTrap() {
        var first = new IllegalStateException("first");
        first.initCause(new IllegalStateException("second", first));
        assertEquals(Kind.INTERNAL, of(first).kind());
    }

    @Test
    void errorsOfTheServer() {
        assertEquals(Kind.AUTH, Kind.ofServerError("WRONGPASS invalid username-password pair"));
        assertEquals(Kind.AUTH, Kind.ofServerError("ERR WRONGPASS invalid username-password pair"));
        assertEquals(Kind.AUTH, Kind.ofServerError("NOAUTH Authentication required.\nmore"));
        assertEquals(Kind.REDIS, Kind.ofServerError("NOPERM this user has no permissions"));
        assertEquals(Kind.REDIS, Kind.ofServerError("ERR the word WRONGPASS inside"));
    }
}
