package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Fingerprint names a token without revealing it: "jwt#" and the first four hex digits of its SHA-256. The fakes' logs use
// the same form, so a token can be followed through all of them.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "jwt#" + hex.EncodeToString(sum[:2])
}

var (
	// A JWT's header is a JSON object, which base64url always begins with eyJ. The later parts are optional so that a token
	// cut off by a broken line is caught too.
	jwtPattern = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}`)
	// JSON members whose values are secret, whole or cut off.
	secretMember = regexp.MustCompile(`("(?:client_secret|access_key|certificate_pem|password|client_assertion|refresh_token)"\s*:\s*")(?:[^"\\]|\\.)*`)
)

const redacted = "[redacted]"

// Redact replaces what looks like a token by its [Fingerprint] and the values of JSON members that hold secrets by
// "[redacted]". For secrets that can stand anywhere, use a [Redactor].
func Redact(text string) string {
	text = jwtPattern.ReplaceAllStringFunc(text, Fingerprint)
	return secretMember.ReplaceAllString(text, "${1}"+redacted)
}

// Redactor is [Redact] with a list of known secrets. The zero value is ready; it is safe for concurrent use.
type Redactor struct {
	mu      sync.RWMutex
	secrets []string
}

// minSecret keeps a short word, given as a secret by a test, from blanking half of every text.
const minSecret = 6

// Add makes secrets known. Those shorter than six bytes are ignored.
func (r *Redactor) Add(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range secrets {
		if len(secret) >= minSecret && !slices.Contains(r.secrets, secret) {
			r.secrets = append(r.secrets, secret)
		}
	}
}

// Redact is [Redact], with known secrets replaced too.
func (r *Redactor) Redact(text string) string {
	text = Redact(text)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, secret := range r.secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

const (
	showHead = 200
	showTail = 60
)

// Show renders a line for an error message: redacted, on one line with control bytes escaped, and shortened in the middle.
func Show(raw []byte) string {
	// Of a giant line only the head is shown, cut off before the regular expressions see it. Its tail could begin in the middle
	// of a token, which then would not be recognised as one.
	const enough = 8192
	if len(raw) > enough {
		return fmt.Sprintf("%s… (%d bytes in all)", head(clean(raw[:enough])), len(raw))
	}
	text := clean(raw)
	if len(text) <= showHead+showTail {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes in all) …%s", head(text), len(raw), tail(text))
}

// Show is the package's [Show], with known secrets replaced too.
func (r *Redactor) Show(raw []byte) string { return Show([]byte(r.Redact(string(raw)))) }

func head(text string) string {
	if len(text) <= showHead {
		return text
	}
	cut := showHead
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

func tail(text string) string {
	if len(text) <= showTail {
		return text
	}
	cut := len(text) - showTail
	for !utf8.RuneStart(text[cut]) {
		cut++
	}
	return text[cut:]
}

func clean(raw []byte) string {
	var out strings.Builder
	text := Redact(string(raw))
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\x%02x`, r)
		default:
			out.WriteRune(r)
		}
		text = text[size:]
	}
	return out.String()
}
