package libraries_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/scenarios/driver"
)

// credential is how a program proves who it is. The first three are told to the
// program; at the last two it is the machine that knows.
type credential string

const (
	clientSecret     credential = "client-secret"
	certificate      credential = "certificate"
	workloadIdentity credential = "workload-identity"
	appService       credential = "App Service"
	imds             credential = "IMDS"
)

// word is what the program is told.
func (c credential) word() credential {
	if c.managed() {
		return "managed-identity"
	}
	return c
}

func (c credential) managed() bool { return c == appService || c == imds }

// route is how the program comes to the issuer.
type route string

const (
	direct route = "direct" // it is told the issuer's address
	proxy  route = "proxy"  // it asks the addresses that it has built in, through the proxy
)

// machine is where a program runs, and the issuer that it finds there.
type machine struct {
	route       route
	credentials []credential
	// wrongSecret: the environment carries a secret that App Service does not know.
	wrongSecret bool
}

// place is what the machine is: appService or imds, or any other credential for one
// that has none of its own.
func (m machine) place() credential { return m.credentials[0] }

var machines = []machine{
	{route: direct, credentials: []credential{clientSecret, certificate, workloadIdentity}},
	{route: proxy, credentials: []credential{clientSecret, certificate, workloadIdentity}},
	{route: direct, credentials: []credential{appService}},
	{route: proxy, credentials: []credential{appService}},
	{route: direct, credentials: []credential{appService}, wrongSecret: true},
	{route: proxy, credentials: []credential{appService}, wrongSecret: true},
	{route: direct, credentials: []credential{imds}},
	{route: proxy, credentials: []credential{imds}},
}

// pantry is what all machines have in common.
type pantry struct {
	dir             string
	caPEM, caPKCS12 string // the issuers' CA, as files in the forms that programs take
	known, stranger *fakeentra.Certificate
}

const storePassword = "fake-secret-store"

func newPantry(dir string) (*pantry, error) {
	p := &pantry{dir: dir, caPEM: filepath.Join(dir, "ca.pem"), caPKCS12: filepath.Join(dir, "ca.p12")}
	entra, err := fakeentra.Start() // all servers of a process have the same CA
	if err != nil {
		return nil, err
	}
	defer func() { _ = entra.Close() }()
	if err := os.WriteFile(p.caPEM, entra.CAPEM(), 0o600); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("keytool"); err == nil { // without it there is no Java either
		out, err := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "fakeentra", "-file", p.caPEM,
			"-keystore", p.caPKCS12, "-storetype", "PKCS12", "-storepass", storePassword).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("keytool: %w: %s", err, out)
		}
	}
	if p.known, err = fakeentra.NewCertificate("orders", time.Time{}, time.Time{}); err != nil {
		return nil, err
	}
	p.stranger, err = fakeentra.NewCertificate("stranger", time.Time{}, time.Time{})
	return p, err
}

// station is a machine that is running.
type station struct {
	machine
	*pantry
	entra   *fakeentra.Server
	astray  *fakeentra.Server // its proxy gets what goes to an address that is not the issuer's
	program *program
}

func (m machine) start(config *driver.Config, prepared driver.Prepared, shared *pantry) (*station, error) {
	s := &station{machine: m, pantry: shared}
	if err := s.open(config, prepared); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *station) open(config *driver.Config, prepared driver.Prepared) (err error) {
	var options []fakeentra.Option
	if s.route == proxy && s.place() == imds {
		options = append(options, fakeentra.WithMetadataAddr("")) // there is no way but the proxy
	}
	if s.entra, err = fakeentra.Start(options...); err != nil {
		return err
	}
	if s.astray, err = fakeentra.Start(); err != nil {
		return err
	}
	env, err := s.env()
	if err != nil {
		return err
	}
	s.program, err = startProgram(config, prepared, env)
	return err
}

func (s *station) close() error {
	var err error
	if s.program != nil {
		err = s.program.end()
	}
	for _, server := range []*fakeentra.Server{s.entra, s.astray} {
		if server != nil {
			err = errors.Join(err, server.Close())
		}
	}
	return err
}

func (s *station) env() (map[string]string, error) {
	through := s.entra
	if s.route == direct {
		through = s.astray
	}
	env := driver.Environment(s.caPEM)
	maps.Copy(env, through.ProxyEnv())
	forward, err := url.Parse(through.ProxyURL())
	if err != nil {
		return nil, err
	}
	java := []string{
		"-Djavax.net.ssl.trustStore=" + s.caPKCS12, "-Djavax.net.ssl.trustStorePassword=" + storePassword,
		"-Dhttp.nonProxyHosts=localhost|127.*", // the default of Java, but not of azure-identity
	}
	for _, scheme := range []string{"http", "https"} {
		java = append(java, "-D"+scheme+".proxyHost="+forward.Hostname(), "-D"+scheme+".proxyPort="+forward.Port())
	}
	env["JDK_JAVA_OPTIONS"] = strings.Join(java, " ")

	source := map[credential]fakeentra.IdentitySource{appService: fakeentra.SourceAppService, imds: fakeentra.SourceIMDS}[s.place()]
	if source == "" || source == fakeentra.SourceIMDS && s.route == proxy {
		return env, nil
	}
	resident, err := s.entra.AddManagedIdentity("machine", fakeentra.WithSystemAssigned())
	if err != nil {
		return nil, err
	}
	identity, err := s.entra.ManagedIdentityEnv(source, resident)
	if err != nil {
		return nil, err
	}
	maps.Copy(env, identity)
	if s.wrongSecret {
		env["IDENTITY_HEADER"] = "fake-secret-of-another-machine"
	}
	return env, nil
}

// principal is somebody to sign in as.
type principal struct {
	clientID, objectID string
	ask                ask
}

// newPrincipal registers somebody new, so that what a library remembers of others
// does not matter. A sound one has the right credential.
func (s *station) newPrincipal(library string, c credential, sound bool) (principal, error) {
	p := principal{ask: ask{Session: uuid.NewString(), Library: library, Credential: c.word()}}
	if c.managed() {
		p.clientID = uuid.NewString()
		if sound || c == appService { // there it is the machine's secret that is wrong
			identity, err := s.entra.AddManagedIdentity(p.ask.Session, fakeentra.WithIdentityClientID(p.clientID))
			if err != nil {
				return principal{}, err
			}
			p.objectID = identity.ObjectID
		}
		p.ask.ClientID = p.clientID
		return p, nil
	}
	app, err := s.entra.AddApp(p.ask.Session, fakeentra.WithAppCertificate(s.known), fakeentra.WithFederatedCredential(fakeentra.FederatedCredential{
		Name: "cluster", Issuer: clusterIssuer, Subject: clusterSubject,
		Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.known.PrivateKey.Public(), KeyID: clusterKey, Algorithm: "RS256", Use: "sig"}}},
	}))
	if err != nil {
		return principal{}, err
	}
	p.clientID, p.objectID = app.ClientID, app.ObjectID
	p.ask.TenantID, p.ask.ClientID = app.TenantID, app.ClientID
	if s.route == direct {
		p.ask.Authority = s.entra.URL()
	}
	switch c {
	case clientSecret:
		p.ask.Secret = app.ClientSecret
		if !sound {
			p.ask.Secret = "fake-secret-of-somebody-else"
		}
	case certificate:
		cert := s.known
		if !sound {
			cert = s.stranger
		}
		pem, err := cert.PEM()
		if err != nil {
			return principal{}, err
		}
		p.ask.CertificateFile, err = s.file(p.ask.Session+".pem", pem)
		return p, err
	case workloadIdentity:
		subject := clusterSubject
		if !sound {
			subject += "-of-somebody-else"
		}
		p.ask.AssertionFile, err = s.file(p.ask.Session+".jwt", s.assertion(subject))
	}
	return p, err
}

func (s *station) file(name string, content []byte) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, content, 0o600)
}

// The issuer of the service account tokens of a cluster, which is not asked for its
// keys.
const (
	clusterIssuer  = "https://127.0.0.1/cluster"
	clusterSubject = "system:serviceaccount:default:orders"
	clusterKey     = "cluster-1"
)

func (p *pantry) assertion(subject string) []byte {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": clusterIssuer, "sub": subject, "aud": fakeentra.FederatedAudience,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	token.Header["kid"] = clusterKey
	signed, err := token.SignedString(p.known.PrivateKey)
	if err != nil {
		panic(err) // an RSA key signs
	}
	return []byte(signed)
}

// claimsOf reads a token without checking it: what the cache makes of it is not
// what is judged here.
func claimsOf(token string) (claims struct {
	ObjectID string `json:"oid"`
	ID       string `json:"uti"`
}, err error) {
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		return claims, err
	}
	raw, err := json.Marshal(parsed.Claims)
	if err != nil {
		return claims, err
	}
	return claims, json.Unmarshal(raw, &claims)
}

// obeysProxy tells whether the library can be made to use a proxy at all.
func (s *station) obeysProxy(ctx context.Context, library string) (bool, error) {
	p, err := s.newPrincipal(library, clientSecret, true)
	if err != nil {
		return false, err
	}
	// A name that leads nowhere (RFC 2606): who asks for it does so through the proxy
	// or not at all.
	host := p.ask.Session + ".invalid"
	p.ask.Authority = "https://" + host
	a, err := s.program.ask(ctx, p.ask)
	if err != nil {
		return false, err
	}
	if a.OK {
		return false, fmt.Errorf("%s got a token from %s", library, host)
	}
	for _, r := range s.entra.Requests() {
		if r.Endpoint == fakeentra.EndpointProxy && r.Path == host+":443" {
			return true, nil
		}
	}
	return false, nil
}
