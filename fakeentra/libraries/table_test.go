package libraries_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/scenarios/driver"
)

var update = flag.Bool("update", false, "write testdata/table.md from what is seen")

const (
	golden = "testdata/table.md"
	readme = "../../README.md"
)

// language is a folder of testdata.
type language struct {
	folder    string
	manifest  string // the file with the versions
	libraries []library
}

type library struct {
	name     string
	manifest string // its name in the manifest
}

const msalNode = "@azure/msal-node"

var languages = []language{
	{"go", "go.mod", []library{{"azidentity", "sdk/azidentity"}, {"MSAL for Go", "microsoft-authentication-library-for-go"}}},
	{"python", "requirements.in", []library{{"azure-identity", "azure-identity"}, {"msal", "msal"}}},
	{"node", "package.json", []library{{"@azure/identity", `"@azure/identity"`}, {msalNode, `"@azure/msal-node"`}}},
	{"java", "pom.xml", []library{{"azure-identity", ">azure-identity<"}, {"msal4j", ">msal4j<"}}},
}

var columns = []credential{clientSecret, certificate, workloadIdentity, appService, imds}

// spot is a cell of the table.
type spot struct {
	library    string
	route      route
	credential credential
}

// TestTable signs in with every library and prints the table; see the package
// comment. With -update it writes the golden file too.
func TestTable(t *testing.T) {
	shared, err := newPantry(t.TempDir())
	require.NoError(t, err)
	rows := make([][]string, len(languages))
	t.Run("languages", func(t *testing.T) {
		for i, l := range languages {
			t.Run(l.folder, func(t *testing.T) {
				t.Parallel()
				rows[i] = l.rows(t, shared)
			})
		}
	})

	want, err := os.ReadFile(golden)
	if *update {
		require.False(t, t.Failed() || slices.ContainsFunc(rows, func(r []string) bool { return r == nil }), "only a whole table can be written")
		require.NoError(t, os.WriteFile(golden, []byte(render(rows)), 0o644))
		return
	}
	require.NoError(t, err)
	wanted := strings.Split(string(want), "\n")
	for i, l := range languages {
		if rows[i] == nil { // skipped or failed, and said so
			rows[i] = slices.DeleteFunc(slices.Clone(wanted), func(line string) bool { return !strings.HasPrefix(line, "| "+l.title()+" |") })
		}
	}
	t.Logf("\n%s", render(rows))
	require.Equal(t, string(want), render(rows), "see what has changed, and write %s anew with -update", golden)
}

// TestTheReadmeHasTheTable keeps it from going stale.
func TestTheReadmeHasTheTable(t *testing.T) {
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	assert.True(t, strings.Contains(string(text), string(want)), "%s does not have the table of %s: copy it there", readme, golden)
}

// rows signs in with the language's libraries and returns their rows of the table.
func (l language) rows(t *testing.T, shared *pantry) []string {
	config, err := driver.Load(filepath.Join("testdata", l.folder))
	require.NoError(t, err)
	found, err := config.Probe(t.Context())
	var absent *driver.AbsentError
	if errors.As(err, &absent) && os.Getenv("ENTRACACHE_REQUIRE") != "all" {
		t.Skip(absent)
	}
	require.NoError(t, err)
	t.Logf("%s", found.Output)
	prepared, err := config.Prepare(t.Context(), found, driver.PrepareOptions{Progress: func(line string) { t.Log(line) }})
	require.NoError(t, err)

	var (
		mu    sync.Mutex
		cells = map[spot]outcomes{}
		names []string
	)
	for _, library := range l.libraries {
		names = append(names, library.name)
	}
	err = together(machines, func(m machine) error {
		visits, err := m.visit(t.Context(), config, prepared, shared, names)
		mu.Lock()
		defer mu.Unlock()
		for _, v := range visits {
			at := spot{v.library, v.route, v.credential}
			cells[at] = cells[at].with(v.seen)
		}
		return err
	})
	for at, seen := range cells {
		for _, said := range seen.said {
			t.Logf("%s, %s, %s: %s", at.library, at.credential, at.route, said)
		}
	}
	require.NoError(t, err)
	return l.render(t, cells)
}

func (m machine) visit(ctx context.Context, config *driver.Config, prepared driver.Prepared, shared *pantry, libraries []string) ([]*visit, error) {
	s, err := m.start(config, prepared, shared)
	if err != nil {
		return nil, err
	}
	visits, err := s.tour(ctx, libraries)
	return visits, errors.Join(err, s.close())
}

// with joins what was seen on different machines.
func (o outcomes) with(other outcomes) outcomes {
	return outcomes{
		impossible: o.impossible + other.impossible,
		success:    o.success + other.success,
		refused:    o.refused + other.refused,
		throttled:  o.throttled + other.throttled,
		outage:     o.outage + other.outage,
		said:       append(o.said, other.said...),
	}
}

func (o outcomes) String() string {
	if o.impossible != possible {
		return "– (" + string(o.impossible) + ")"
	}
	return strings.Join([]string{o.success, o.refused, o.throttled, o.outage}, " ")
}

func (l language) title() string { return strings.ToUpper(l.folder[:1]) + l.folder[1:] }

func (l language) render(t *testing.T, cells map[spot]outcomes) []string {
	manifest, err := os.ReadFile(filepath.Join("testdata", l.folder, l.manifest))
	require.NoError(t, err)
	var rows []string
	for _, library := range l.libraries {
		version := regexp.MustCompile(regexp.QuoteMeta(library.manifest) + `\D*([0-9][0-9.]*)`).FindSubmatch(manifest)
		require.NotNil(t, version, "version of %s", library.name)
		for _, r := range []route{direct, proxy} {
			row := fmt.Sprintf("| %s | %s %s | %s |", l.title(), library.name, version[1], r)
			for _, c := range columns {
				seen, ok := cells[spot{library.name, r, c}]
				require.True(t, ok, "%s, %s, %s: not tried", library.name, r, c)
				if library.name == msalNode && r == proxy && c != appService && seen.impossible == possible {
					// A newer Node than the table is of, for which note b holds.
					require.Equal(t, cells[spot{library.name, direct, c}].String(), seen.String(), "%s, %s, %s", library.name, r, c)
					seen = outcomes{impossible: noProxy}
				}
				row += " " + seen.String() + " |"
			}
			rows = append(rows, row)
		}
	}
	return rows
}

const legend = `
The four marks of a cell, in this order:

1. ✓ it signs in;
2. ✓ with a wrong credential it is refused, and the reason (Entra's AADSTS code, or the words of the identity endpoint) reaches the
   caller. At App Service it is the machine's secret that is wrong; IMDS knows no secret, and is asked for an identity that is not there;
3. throttled with status 429 and Retry-After, ↻ it waits that long and has its token, or ! the error reaches the caller, who has a
   token with a later call;
4. ✓ in an outage the error reaches the caller, and the same object of the library's signs in when it is over.

*direct*: the library is told the issuer's address. *proxy*: it asks ` + "`login.microsoftonline.com` and `169.254.169.254`" + `, as built in,
through fakeentra's forward proxy; the App Service endpoint is on the machine itself, and asked past the proxy. All else is as the
libraries have it by themselves, except that Azure Identity is told to give up after two retries, where that can be said.

– (a) The library asks ` + "`169.254.169.254`" + ` whatever ` + "`AZURE_POD_IDENTITY_AUTHORITY_HOST`" + ` says; use the proxy.
– (b) Node's own fetch obeys no proxy before Node 22.21; from then on it does, with the marks of the direct route.
`

// render is the golden file, and what stands in the README.
func render(rows [][]string) string {
	var b strings.Builder
	b.WriteString("| Language | Library | Route |")
	for _, c := range columns {
		title := strings.ReplaceAll(string(c), "-", " ")
		b.WriteString(" " + strings.ToUpper(title[:1]) + title[1:] + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", 3+len(columns)) + "\n")
	for _, row := range slices.Concat(rows...) {
		b.WriteString(row + "\n")
	}
	return b.String() + legend
}
