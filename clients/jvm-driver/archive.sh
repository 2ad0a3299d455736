#!/bin/sh
# Puts the classes of a driver that is prepared in a folder into an archive there, from which a JVM has them in half the time:
#   archive.sh FOLDER MAIN-CLASS
# They are the classes of two clients that are made, and whose connections and token requests are refused: nothing listens on
# port 1. Without the archive a driver runs as well, only slower.
set -eu
args=@$(dirname "$0")/java.args
classpath="$1/driver.jar:$1/lib/*"
jar --create --file "$1/driver.jar" -C "$1/classes" .

# Of nobody: its key was thrown away.
ca_pem='"ca_pem":"-----BEGIN CERTIFICATE-----\nMIIBnTCCAUOgAwIBAgIUdOAFRvzeMinQbTIH4u8l7IeQuFcwCgYIKoZIzj0EAwIw\nIzEhMB8GA1UEAwwYZW50cmFjYWNoZSBjbGFzcyBhcmNoaXZlMCAXDTI2MTEyNjA3\nNDIxMVoYDzIxMjYxMTAyMDc0MjExWjAjMSEwHwYDVQQDDBhlbnRyYWNhY2hlIGNs\nYXNzIGFyY2hpdmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAShq/bW84rk8pIf\nGFk01F9ZxEpigs7mixOKGP4dkEdXxTc9Ov7svnULDnfmPll/3R7Fl/fiENe8Igky\nb3t50GsWo1MwUTAdBgNVHQ4EFgQUo3ygC9QWNiZNqVPiS7Tjl7pxeCwwHwYDVR0j\nBBgwFoAUo3ygC9QWNiZNqVPiS7Tjl7pxeCwwDwYDVR0TAQH/BAUwAwEB/zAKBggq\nhkjOPQQDAgNIADBFAiBmee2vj5qb447duf/g6zx+TIIYKwtYDw98awwXoDbN5gIh\nAKQCcHk9RP99n/o6U8qf4Od75+8evVoWefpTCP7HLHVG\n-----END CERTIFICATE-----"'
cache='"cache":{"host":"127.0.0.1","port":1,'"$ca_pem"'}'
entra='"entra":{"authority":"https://127.0.0.1:1/t","authority_host":"https://127.0.0.1:1","tenant_id":"t",'"$ca_pem"'}'
secret='"credential":{"kind":"client-secret","client_id":"c","client_secret":"fake-secret"}'
{
  printf '%s\n' '{"id":1,"op":"hello","protocol":1,"harness":"entracache"}'
  printf '%s\n' '{"id":2,"op":"open","client":"k",'"$cache"',"credential":{"kind":"access-key","access_key":"fake-key"}}'
  printf '%s\n' '{"id":3,"op":"open","client":"t",'"$cache,$entra,$secret"',"username":"u","scopes":["https://redis.azure.com/.default"]}'
  sleep 2 # some libraries connect with the first command only
  printf '%s\n' '{"id":4,"op":"command","client":"k","args":["PING"]}'
  printf '%s\n' '{"id":5,"op":"command","client":"t","args":["PING"]}'
  sleep 3 # and some go on trying for a minute, or for ever
  printf '%s\n' '{"id":6,"op":"shutdown"}'
} | java "$args" -XX:DumpLoadedClassList="$1/loaded.txt" -cp "$classpath" "$2"

# An archive of Spring's lambdas makes the JVM of Java 17 crash.
grep -v '^@lambda' "$1/loaded.txt" >"$1/archived.txt"
java "$args" -Xlog:disable -Xshare:dump -XX:SharedClassListFile="$1/archived.txt" -XX:SharedArchiveFile="$1/driver.jsa" \
  -XX:ErrorFile="$1/archive-error.log" -cp "$classpath" || {
  echo "no archive of classes: $2 will take longer to start" >&2
  rm -f "$1/driver.jsa"
}
