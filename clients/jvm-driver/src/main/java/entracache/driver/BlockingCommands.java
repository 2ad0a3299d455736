package entracache.driver;

import java.util.List;
import java.util.Locale;
import java.util.Set;

/** The commands that an application has to send by another method than the rest, because they may wait for long. */
public final class BlockingCommands {
    private static final Set<String> NAMES =
        Set.of("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF");

    private BlockingCommands() {
    }

    public static boolean contain(List<String> args) {
        String name = args.get(0).toUpperCase(Locale.ROOT);
        return NAMES.contains(name)
            || name.matches("XREAD(GROUP)?") && args.stream().skip(1).anyMatch(arg -> arg.equalsIgnoreCase("BLOCK"));
    }
}
