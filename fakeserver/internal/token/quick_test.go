package token

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// usual are claims as issuers write them.
const usual = `{"aud":"https://redis.azure.com","iss":"https://sts.windows.net/t/","iat":1700000000,"nbf":1700000000,"exp":1700003600,` +
	`"appid":"a","azp":"b","idtyp":"app","oid":"o","tid":"t","uti":"u","ver":"1.0","roles":["x","y"],"acct":0,"email_verified":true,"x":null,"z":false}`

// TestUsualClaimsAreReadQuickly keeps the quick way from being left by mistake, which nothing else would show.
func TestUsualClaimsAreReadQuickly(t *testing.T) {
	for _, text := range []string{usual, `{"exp":1}`, `{"aud":["a","b"]}`, `{"oid":"a","oid":"b"}`} {
		got, ok := quickClaims([]byte(text))
		require.True(t, ok, text)
		var want wireClaims
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{
		``, `{}`, `{`, `{"oid"}`, `{"oid":"a",}`, `{"oid":"a"`, `{"oid":"a"}}`, `{"oid":"a"} `, `{ "oid":"a"}`, `{"OID":"a"}`, `{"oid":"\u0061"}`,
		`{"oid":"é"}`, `{"oid":1}`, `{"exp":1.5}`, `{"exp":"1"}`, `{"exp":-1}`, `{"exp":01}`, `{"exp":1e3}`, `{"exp":9999999999999999999}`, `{"aud":[]}`,
		`{"aud":["a",1]}`, `{"aud":null}`, `{"x":{}}`, `{"x":tru}`, `{"x":truely}`, `{"x":[1]}`, `[]`, `null`,
	} {
		_, ok := quickClaims([]byte(text))
		assert.False(t, ok, text)
	}
}

// FuzzClaims holds the quick way against encoding/json.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(usual))
	f.Add([]byte(`{"aud":["a","b"],"exp":1,"exp":2,"oid":""}`))
	f.Add([]byte(`{"x":[""],"uti":"~ ","nbf":0}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, ok := quickClaims(raw)
		if !ok {
			return
		}
		var want wireClaims
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%q was read, and is wrong: %v", raw, err)
		}
		assert.Equal(t, want, got, "%q", raw)
	})
}
