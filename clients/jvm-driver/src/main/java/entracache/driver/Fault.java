package entracache.driver;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.microsoft.aad.msal4j.MsalException;
import java.io.IOException;
import java.net.SocketTimeoutException;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;

/** An exception in the protocol's terms. */
@JsonInclude(JsonInclude.Include.NON_NULL)
public record Fault(Kind kind, String message, String code, String exception) {
    private static final Pattern CODE = Pattern.compile("[A-Z][A-Z0-9]*(?= |$)");

    static Fault of(Kind kind, String message) {
        return new Fault(kind, message, null, null);
    }

    /** Of wrapped exceptions the innermost that says something counts; a token that could not be had, whatever the reason. */
    static Fault of(Throwable error, Library library) {
        if (error instanceof Refusal refusal) {
            return of(refusal.kind, refusal.getMessage());
        }
        List<Throwable> fromInside = new ArrayList<>();
        for (Throwable e = error; e != null && !fromInside.contains(e); e = e.getCause()) {
            fromInside.add(0, e);
        }
        for (Throwable e : fromInside) {
            if (e instanceof MsalException || library.kindOf(e) == Kind.TOKEN) {
                return of(Kind.TOKEN, e);
            }
        }
        for (Throwable e : fromInside) {
            Kind kind = library.kindOf(e);
            if (kind == null) {
                kind = kindOfJava(e);
            }
            if (kind != null) {
                return of(kind, e);
            }
        }
        return of(Kind.INTERNAL, error);
    }

    private static Fault of(Kind kind, Throwable error) {
        String name = error.getClass().getName();
        String message = error.getMessage() == null ? name : error.getMessage();
        String code = null;
        if (kind == Kind.REDIS || kind == Kind.AUTH) {
            var word = CODE.matcher(message);
            code = word.lookingAt() ? word.group() : null;
        }
        return new Fault(kind, message, code, name);
    }

    private static Kind kindOfJava(Throwable e) {
        if (e instanceof SocketTimeoutException || e instanceof TimeoutException) {
            return Kind.TIMEOUT;
        }
        // GeneralSecurityException is at the bottom of a certificate that is not trusted.
        return e instanceof IOException || e instanceof GeneralSecurityException ? Kind.NETWORK : null;
    }
}
