package driver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLastWordsNameTheError(t *testing.T) {
	for name, c := range map[string]struct{ said, want string }{
		"Node.js":                      {"file:///d.mjs:3\nimport { a } from 'b';\n         ^\nSyntaxError: 'b' has no 'a'\n    at Loader (node:internal:1)\n\nNode.js v20.1.0\n", "SyntaxError: 'b' has no 'a'"},
		"Java":                         {"Exception in thread \"main\" java.lang.NoClassDefFoundError: x/Y\n\tat a.B.main(B.java:1)\n", `Exception in thread "main" java.lang.NoClassDefFoundError: x/Y`},
		"Go":                           {"panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:3 +0x1d\n", "panic: boom"},
		"Python":                       {"Traceback (most recent call last):\n  File \"d.py\", line 1\nImportError: no redis\n", "ImportError: no redis"},
		"Rust":                         {"thread 'main' panicked at src/main.rs:3:5:\nboom\nnote: run with RUST_BACKTRACE=1\n", "thread 'main' panicked at src/main.rs:3:5:"},
		"other":                        {"starting\nout of memory\n\n", "out of memory"},
		"an error long before the end": {"Error: one\n" + strings.Repeat("all well\n", 60), "all well"},
		"silence":                      {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var ring stderrRing
			readText(strings.NewReader(c.said), func(text string) { ring.add(StderrLine{Text: text}) })
			assert.Equal(t, c.want, ring.lastWords())
		})
	}
}
