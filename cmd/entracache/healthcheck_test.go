package main

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nobody is an address on which nothing listens.
const nobody = "127.0.0.1:1"

func TestHealthcheckOfAPairThatIsWell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready.json")
	s := serve(t, append(anyPorts, "--ready-file", path)...)
	for name, args := range map[string][]string{
		"by the ready file": {"--ready-file", path},
		"by flags": {"--authority", s.Entra.Authority, "--client-id", s.Entra.ClientID, "--client-secret", s.Entra.ClientSecret,
			"--object-id", s.Entra.ObjectID, "--cache-addr", s.cacheAddr(), "--ca-file", s.CAFile},
		"by what serve was told, too": {"--ready-file", path, "--cache-addr", fmt.Sprintf("0.0.0.0:%d", s.Cache.Port)},
		"by a port left open":         {"--ready-file", path, "--cache-addr", ":0"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := command(t, append([]string{"healthcheck"}, args...)...)
			assert.Equal(t, exitExpected, code, stderr)
			assert.Equal(t, "ok\n", stdout)
			assert.Empty(t, stderr)
		})
	}
}

func TestHealthcheckAndTokenSayWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready.json")
	missing := filepath.Join(t.TempDir(), "ready.json")
	garbage := write(t, "garbage", "garbage")
	serve(t, append(anyPorts, "--ready-file", path)...)
	// It accepts, by its backlog, and never says a word.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()

	pair := []string{"--ready-file", path}
	for name, c := range map[string]struct {
		commands []string
		args     []string
		code     int
		says     []string
	}{
		"the issuer is down":        {both, append(pair, "--authority", "https://"+nobody+"/tenant"), exitNonconformant, []string{nobody, "refused"}},
		"the issuer is silent":      {both, append(pair, "--authority", "https://"+silent.Addr().String()+"/tenant", "--timeout", "300ms"), exitNonconformant, []string{silent.Addr().String(), "deadline"}},
		"a wrong secret":            {both, append(pair, "--client-secret", "wrong"), exitNonconformant, []string{"AADSTS7000215"}},
		"an unknown client":         {both, append(pair, "--client-id", uuid.NewString()), exitNonconformant, []string{"AADSTS700016"}},
		"no such ready file":        {both, []string{"--ready-file", missing}, exitNonconformant, []string{"--ready-file", missing, "running?"}},
		"not a ready file":          {both, []string{"--ready-file", garbage}, exitUsage, []string{"--ready-file", garbage, `"garbage"`}},
		"no pair named":             {both, nil, exitUsage, []string{"--ready-file", "--authority, --client-id, --client-secret"}},
		"half a pair named":         {both, []string{"--authority", "https://127.0.0.1:8443/tenant"}, exitUsage, []string{"--client-id, --client-secret"}},
		"an authority of no tenant": {both, append(pair, "--authority", "https://127.0.0.1:8443"), exitUsage, []string{"--authority", "TENANT"}},
		"an authority in the clear": {both, append(pair, "--authority", "http://127.0.0.1:8443/tenant"), exitUsage, []string{"--authority", "https://"}},
		"no such CA":                {both, append(pair, "--ca-file", missing), exitUsage, []string{"--ca-file", missing}},
		"a CA that is none":         {both, append(pair, "--ca-file", garbage), exitUsage, []string{"--ca-file", garbage}},
		"no time":                   {both, append(pair, "--timeout", "0s"), exitUsage, []string{"--timeout"}},
		"the cache is down":         {[]string{"healthcheck"}, append(pair, "--cache-addr", nobody), exitNonconformant, []string{nobody, "refused"}},
		"the cache is silent":       {[]string{"healthcheck"}, append(pair, "--cache-addr", silent.Addr().String(), "--timeout", "1s"), exitNonconformant, []string{silent.Addr().String()}},
		"no place for the identity": {[]string{"healthcheck"}, append(pair, "--object-id", uuid.NewString()), exitNonconformant, []string{"WRONGPASS"}},
		"a cache of no port":        {[]string{"healthcheck"}, append(pair, "--cache-addr", "localhost"), exitUsage, []string{"--cache-addr", "HOST:PORT"}},
		"no cache named": {[]string{"healthcheck"}, []string{"--authority", "https://127.0.0.1:8443/tenant", "--client-id", "c", "--client-secret", "s"},
			exitUsage, []string{"--cache-addr, --object-id"}},
	} {
		for _, subcommand := range c.commands {
			t.Run(name+"/"+subcommand, func(t *testing.T) {
				code, stdout, stderr := command(t, append([]string{subcommand}, c.args...)...)
				assert.Equal(t, c.code, code)
				assert.Empty(t, stdout)
				assertRefused(t, stderr, c.says...)
			})
		}
	}
}

var both = []string{"healthcheck", "token"}

func TestHealthcheckOfAPairThatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready.json")
	s := serve(t, append(anyPorts, "--ready-file", path, "--tls-dir", t.TempDir())...)
	copied := write(t, "copy.json", s.line)
	s.stop()
	for _, file := range []string{path, copied} {
		code, stdout, stderr := command(t, "healthcheck", "--ready-file", file)
		assert.Equal(t, exitNonconformant, code, file)
		assert.Empty(t, stdout)
		assertRefused(t, stderr)
	}
}
