package fakeserver_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

const otherOID = "11111111-2222-4333-8444-555555555555"

// states are the provisioning states that the log shows.
func (w *world) states() []fakeserver.ProvisioningState {
	var states []fakeserver.ProvisioningState
	for _, e := range w.eventsOf(fakeserver.EventProvisioningState) {
		states = append(states, fakeserver.ProvisioningState(e.Detail))
	}
	return states
}

func (w *world) provisioned() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	require.NoError(w.t, w.WaitProvisioned(ctx))
}

func TestAccessKeyForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{{"AUTH", "key-one"}, {"AUTH", "key-two"}, {"AUTH", "default", "key-one"}, {"AUTH", "default", "key-two"}} {
		assert.Equal(t, "+OK", dial(t, w.Server).line(args...), args)
	}
	for _, args := range [][]string{{"AUTH", "key-three"}, {"AUTH", "default", ""}, {"AUTH", "Default", "key-one"}, {"AUTH", "", "key-one"}} {
		assert.Equal(t, wrongPass, dial(t, w.Server).line(args...), args)
	}
}

func TestRegeneratingAKeyMayCutItsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithConnectionsCutOnKeyRegeneration())
	byToken := w.signedIn(fakeserver.DataOwner)
	first, second := w.withKey(), dial(t, w.Server)
	require.Equal(t, "+OK", second.line("AUTH", "default", "key-two"))
	key, err := w.RegenerateKey(fakeserver.KeySecondary)
	require.NoError(t, err)
	second.closed()
	assert.Equal(t, fakeserver.ReasonKeyRegenerated, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	assert.Equal(t, "+PONG", first.line("PING"), "it signed in with the other key")
	assert.Equal(t, "+PONG", byToken.line("PING"))
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", key))
	// A connection that has moved on to a token is none of the key's any more.
	require.Equal(t, "+OK", first.line("AUTH", oid, w.token(time.Hour)))
	_, err = w.RegenerateKey(fakeserver.KeyPrimary)
	require.NoError(t, err)
	assert.Equal(t, "+PONG", first.line("PING"))
}

func TestAccessKeysAreNotDisabledWhenNobodyCouldSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	err := w.DisableAccessKeys()
	require.ErrorIs(t, err, fakeserver.ErrNoUserAssigned)
	assert.ErrorContains(t, err, "Assign", "the error says what to do next")
	require.NoError(t, w.DisableEntra())
	c.closed()
	c = w.withKey()
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	err = w.DisableAccessKeys()
	require.ErrorIs(t, err, fakeserver.ErrEntraDisabled)
	assert.ErrorContains(t, err, "EnableEntra")
	assert.True(t, w.AccessKeysEnabled())
	assert.Equal(t, "+PONG", c.line("PING"), "what is refused changes nothing")
	assert.Empty(t, w.eventsOf(fakeserver.EventAccessKeysDisabled))

	// Without an issuer tokens never sign in.
	alone := fakeserver.RunT(t)
	assert.ErrorIs(t, alone.DisableAccessKeys(), fakeserver.ErrEntraDisabled)

	unchecked := newWorld(t, fakeserver.WithUncheckedAuthentication(), fakeserver.WithEntraDisabled())
	c = unchecked.withKey()
	require.NoError(t, unchecked.DisableAccessKeys())
	c.closed()
	assert.False(t, unchecked.AccessKeysEnabled())
	assert.Equal(t, wrongPass, dial(t, unchecked.Server).line("AUTH", "key-one"))
}

func TestEnablingEntraRebootsAndAssignsTheFirstUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithEntraDisabled())
	assert.False(t, w.EntraEnabled())
	require.NoError(t, w.Assign(otherOID, fakeserver.DataReader))
	c := dial(t, w.Server)
	assert.Equal(t, wrongPass, c.line("AUTH", oid, w.token(time.Hour)))
	assert.Equal(t, fakeserver.ReasonEntraDisabled, w.lastAuth().Reason)
	byKey := w.withKey()
	require.Equal(t, "+OK", byKey.line("SET", "a", "b"))

	require.NoError(t, w.EnableEntra(oid))
	c.closed()
	byKey.closed()
	assert.True(t, w.EntraEnabled())
	assert.Equal(t, fakeserver.StateSucceeded, w.ProvisioningState())
	assert.Equal(t, []fakeserver.ProvisioningState{fakeserver.StateConfiguringAAD, fakeserver.StateSucceeded}, w.states())
	assert.Equal(t, fakeserver.ReasonEntraChanged, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	w.eventKind(fakeserver.EventEntraEnabled)
	w.eventKind(fakeserver.EventRebooted)
	list := w.Assignments()
	require.Len(t, list, 2)
	assert.Equal(t, fakeserver.DataOwner, list[1].Policy)
	c = dial(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	assert.Equal(t, "$1\r\nb\r\n", c.do("GET", "a"), "the data is kept")

	require.NoError(t, w.EnableEntra(oid))
	assert.Equal(t, "+PONG", c.line("PING"), "no change, no reboot")
	require.NoError(t, w.DisableEntra())
	c.closed()
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)))
	require.Len(t, w.Assignments(), 2, "assignments are kept")
	require.NoError(t, w.EnableEntra(""))
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)))
	assert.Error(t, w.EnableEntra("default"))
}

func TestEnablingEntraTakesTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithEntraDisabled(), fakeserver.WithConfigurationTime(20*time.Minute))
	c := w.withKey()
	require.NoError(t, w.EnableEntra(oid, fakeserver.RebootTakes(10*time.Minute)))
	assert.Equal(t, fakeserver.StateConfiguringAAD, w.ProvisioningState())
	assert.False(t, w.EntraEnabled())
	assert.Equal(t, "+PONG", c.line("PING"), "the nodes reboot at the end")
	err := w.DisableAccessKeys()
	require.Error(t, err)
	assert.ErrorIs(t, err, fakeserver.ErrEntraDisabled)
	require.ErrorIs(t, w.Link(fakeserver.LinkedServer{Name: "west", Role: fakeserver.GeoSecondary}), fakeserver.ErrBusy)

	w.clock.Advance(20 * time.Minute)
	c.closed()
	w.eventKind(fakeserver.EventNodeDown)
	_, err = net.Dial("tcp", w.Addr())
	require.Error(t, err, "the nodes are down")
	assert.Equal(t, fakeserver.StateConfiguringAAD, w.ProvisioningState())
	waiting, cancel := context.WithTimeout(t.Context(), briefly)
	defer cancel()
	require.ErrorIs(t, w.WaitProvisioned(waiting), context.DeadlineExceeded)

	w.clock.Advance(10 * time.Minute)
	w.provisioned()
	assert.Equal(t, fakeserver.StateSucceeded, w.ProvisioningState())
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)))
}

func TestDisablingAccessKeysTakesTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithConfigurationTime(time.Minute))
	c := w.signedIn(fakeserver.DataOwner)
	require.NoError(t, w.DisableAccessKeys())
	assert.Equal(t, fakeserver.StateUpdating, w.ProvisioningState())
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", "key-one"), "until it takes effect")
	assert.ErrorIs(t, w.DisableAccessKeys(), fakeserver.ErrBusy)
	w.clock.Advance(time.Minute)
	c.closed()
	w.provisioned()
	assert.False(t, w.AccessKeysEnabled())
	require.NoError(t, w.EnableAccessKeys())
	require.NoError(t, w.Close(), "a change that is under way does not keep the server")
	assert.Error(t, w.WaitProvisioned(t.Context()))
}

func TestDisablingEntraWhileKeysAreDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	require.NoError(t, w.DisableAccessKeys())
	err := w.DisableEntra()
	require.ErrorIs(t, err, fakeserver.ErrKeysDisabled)
	assert.ErrorContains(t, err, "EnableAccessKeys")
	require.NoError(t, w.EnableAccessKeys())
	require.NoError(t, w.DisableEntra())

	unchecked := newWorld(t, fakeserver.WithUncheckedAuthentication(), fakeserver.WithAccessKeysDisabled())
	require.NoError(t, unchecked.DisableEntra())
}

func TestTiers(t *testing.T) {
	t.Parallel()
	for _, sku := range fakeserver.SKUs() {
		w := newWorld(t, fakeserver.WithSKU(sku), fakeserver.WithEntraDisabled())
		switch sku.Tier() {
		case fakeserver.TierBasic, fakeserver.TierStandard, fakeserver.TierPremium:
			require.NoError(t, w.EnableEntra(oid), sku)
			require.NoError(t, w.DisableAccessKeys(), sku)
		case fakeserver.TierEnterprise, fakeserver.TierEnterpriseFlash:
			err := w.EnableEntra(oid)
			require.ErrorIs(t, err, fakeserver.ErrTier, sku)
			assert.ErrorContains(t, err, string(sku))
			assert.Empty(t, w.Assignments())
			require.ErrorIs(t, w.DisableAccessKeys(), fakeserver.ErrTier, sku)
			assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", "key-one"))
		default:
			t.Errorf("%s is of the unknown tier %q", sku, sku.Tier())
		}
	}
	// In an Enterprise tier tokens do not sign in from the start.
	w := newWorld(t, fakeserver.WithSKU("Enterprise_E10"))
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)))
	assert.Equal(t, fakeserver.ReasonEntraDisabled, w.lastAuth().Reason)

	// Azure Managed Redis has no SKU here, and has tokens.
	managed := newWorld(t, fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	assert.Empty(t, managed.SKU())
	require.NoError(t, managed.Assign(oid, fakeserver.DataOwner))
	require.NoError(t, managed.DisableAccessKeys())
	oss := fakeserver.RunT(t, fakeserver.WithProfile(fakeserver.ProfileOSS60))
	require.ErrorIs(t, oss.DisableAccessKeys(), fakeserver.ErrTier)

	_, err := fakeserver.Start(fakeserver.WithSKU("Premium_P9"))
	assert.ErrorContains(t, err, `"Premium_P9": expected one of`)
	_, err = fakeserver.Start(fakeserver.WithSKU("Premium_P1"), fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	assert.ErrorContains(t, err, "has no SKU")
	alone := fakeserver.RunT(t)
	assert.ErrorIs(t, alone.EnableEntra(oid), fakeserver.ErrNoIssuer)
}

func TestGeoReplicatedCachesMustBeUnlinkedToDisableKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	west := fakeserver.LinkedServer{Name: "cache-west", Role: fakeserver.GeoSecondary}
	require.NoError(t, w.Link(west))
	assert.Equal(t, []fakeserver.LinkedServer{west}, w.LinkedServers())
	assert.Equal(t, "+PONG", c.line("PING"), "linking leaves connections alone")
	require.ErrorIs(t, w.Link(west), fakeserver.ErrGeoReplicated)
	err := w.DisableAccessKeys()
	require.ErrorIs(t, err, fakeserver.ErrGeoReplicated)
	assert.ErrorContains(t, err, "Unlink")
	assert.Equal(t, "+PONG", c.line("PING"))

	require.NoError(t, w.Unlink("CACHE-west"))
	require.ErrorIs(t, w.Unlink("cache-west"), fakeserver.ErrNotLinked)
	require.NoError(t, w.DisableAccessKeys())
	c.closed()
	require.NoError(t, w.Link(west))
	w.eventKind(fakeserver.EventGeoLinked)
	w.eventKind(fakeserver.EventGeoUnlinked)
	assert.Equal(t, "Linking Succeeded Unlinking Succeeded Updating Succeeded Linking Succeeded", joined(w.states()))

	require.Error(t, w.Link(fakeserver.LinkedServer{Name: "x", Role: "Third"}))
	require.Error(t, w.Link(fakeserver.LinkedServer{Role: fakeserver.GeoPrimary}))
	standard := newWorld(t, fakeserver.WithSKU("Standard_C1"))
	require.ErrorIs(t, standard.Link(west), fakeserver.ErrTier)
}

func joined(states []fakeserver.ProvisioningState) string {
	var words []string
	for _, s := range states {
		words = append(words, string(s))
	}
	return strings.Join(words, " ")
}

func TestNamedAssignments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.AddPolicy(fakeserver.Policy{Name: "App", Permissions: "+get ~app:*"}))
	orders := fakeserver.Assignment{Name: "orders-1", ObjectID: oid, Alias: "orders", Policy: fakeserver.Policy{Name: "app"}}
	require.NoError(t, w.PutAssignment(orders))
	orders.Policy = fakeserver.Policy{Name: "App", Permissions: "+get ~app:*"}
	assert.Equal(t, []fakeserver.Assignment{orders}, w.Assignments())
	c := dial(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	assert.Contains(t, c.line("SET", "app:1", "x"), "NOPERM")
	orders.Policy = fakeserver.DataContributor
	require.NoError(t, w.PutAssignment(orders))
	assert.Equal(t, "+OK", c.line("SET", "app:1", "x"), "in place")

	assert.ErrorContains(t, w.PutAssignment(fakeserver.Assignment{Name: "orders-2", ObjectID: oid, Policy: fakeserver.DataOwner}), `"orders-1"`)
	assert.ErrorContains(t, w.PutAssignment(fakeserver.Assignment{Name: "Orders-1", ObjectID: otherOID, Policy: fakeserver.DataOwner}), oid)
	assert.ErrorContains(t, w.PutAssignment(fakeserver.Assignment{Name: "other", ObjectID: otherOID, Policy: fakeserver.Policy{Name: "Nope"}}), `"Nope"`)
	for _, name := range []string{"ab", strings.Repeat("a", 64), "with space", "-abc", "abc-"} {
		assert.Error(t, w.PutAssignment(fakeserver.Assignment{Name: name, ObjectID: otherOID, Policy: fakeserver.DataOwner}), name)
	}
	require.NoError(t, w.RemoveAssignment("ORDERS-1"))
	c.closed()
	assert.Error(t, w.RemoveAssignment("orders-1"))
	assert.Empty(t, w.Assignments())
}

func TestAliasAsUsername(t *testing.T) {
	t.Parallel()
	orders := fakeserver.Assignment{Name: "orders-1", ObjectID: oid, Alias: "orders", Policy: fakeserver.DataOwner}
	w := newWorld(t)
	require.NoError(t, w.PutAssignment(orders))
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", "orders", w.token(time.Hour)), "off by default")
	assert.Equal(t, fakeserver.ReasonUsernameMismatch, w.lastAuth().Reason)

	w = newWorld(t, fakeserver.WithAliasesAsUsernames())
	require.NoError(t, w.PutAssignment(orders))
	c := dial(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", "orders", w.token(time.Hour)))
	assert.Equal(t, "+OK", c.line("SET", "a", "b"))
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", oid, w.token(time.Hour)), "the object ID still is one")
	foreign := w.iss.Token(t, otherOID, w.clock.Now(), time.Hour)
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", "orders", foreign), "the alias is only good with its own token")
	assert.Error(t, w.PutAssignment(fakeserver.Assignment{Name: "other", ObjectID: otherOID, Alias: "orders", Policy: fakeserver.DataOwner}))
	require.NoError(t, w.RemoveAssignment("orders-1"))
	c.closed()
}

func TestUsersSignInAndGroupsDoNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const group = "99999999-2222-4333-8444-555555555555"
	require.NoError(t, w.Assign(group, fakeserver.DataOwner))
	claims := tokentest.Claims(oid, w.clock.Now(), time.Hour)
	claims["idtyp"], claims["groups"] = "user", []string{group}
	tok := w.iss.Sign(t, claims)
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", oid, tok))
	assert.Equal(t, fakeserver.ReasonNotAssigned, w.lastAuth().Reason)
	assert.Equal(t, wrongPass, dial(t, w.Server).line("AUTH", group, tok))
	require.NoError(t, w.Assign(oid, fakeserver.DataReader))
	assert.Equal(t, "+OK", dial(t, w.Server).line("AUTH", oid, tok))
}

func TestPolicyChangeMayCutConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithConnectionsCutOnPolicyChange())
	require.NoError(t, w.AddPolicy(fakeserver.Policy{Name: "App", Permissions: "+@all ~app:*"}))
	c, byKey := w.signedIn(fakeserver.DataOwner), w.withKey()
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	assert.Equal(t, "+PONG", c.line("PING"), "the same permissions again are no change")
	require.NoError(t, w.AssignPolicy(oid, "App"))
	c.closed()
	assert.Equal(t, fakeserver.ReasonPolicyChanged, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	c = dial(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	require.NoError(t, w.UpdatePolicy(fakeserver.Policy{Name: "App", Permissions: "+@all ~app:* ~lib:*"}))
	c.closed()
	assert.Equal(t, "+PONG", byKey.line("PING"))
}

func TestOneIdentityPerConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(otherOID, fakeserver.DataReader))
	c := w.signedIn(fakeserver.DataOwner)
	other := w.iss.Token(t, otherOID, w.clock.Now(), 2*time.Hour)
	require.Equal(t, "+OK", c.line("AUTH", otherOID, other), "the connection becomes the other one")
	assert.Contains(t, c.line("SET", "a", "b"), "NOPERM")
	w.clock.Advance(time.Hour)
	assert.Equal(t, "$-1", c.line("GET", "a"), "with the other's deadline")
	w.clock.Advance(time.Hour)
	c.closed()

	w = newWorld(t, fakeserver.WithOneIdentityPerConnection())
	require.NoError(t, w.Assign(otherOID, fakeserver.DataReader))
	c = w.signedIn(fakeserver.DataOwner)
	other = w.iss.Token(t, otherOID, w.clock.Now(), 2*time.Hour)
	assert.Equal(t, wrongPass, c.line("AUTH", otherOID, other))
	assert.Equal(t, fakeserver.ReasonOtherIdentity, w.lastAuth().Reason)
	assert.Equal(t, wrongPass, c.line("AUTH", "key-one"))
	assert.Equal(t, "+OK", c.line("SET", "a", "b"), "still who it was")
	w.clock.Advance(30 * time.Minute)
	assert.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)), "its own identity is renewed")
	w.clock.Advance(59 * time.Minute)
	assert.Equal(t, "+PONG", c.line("PING"))
}

func TestResetUndoesTheConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithConfigurationTime(time.Minute), fakeserver.WithMaxClients(3))
	require.NoError(t, w.SetMinimumTLSVersion("1.0"))
	require.NoError(t, w.Link(fakeserver.LinkedServer{Name: "west", Role: fakeserver.GeoPrimary}))
	w.clock.Advance(time.Minute)
	w.provisioned()
	require.NoError(t, w.DisableEntra(fakeserver.RebootTakes(time.Minute)))
	w.clock.Advance(time.Minute)
	w.eventKind(fakeserver.EventNodeDown)
	w.Reset()
	assert.Equal(t, fakeserver.StateSucceeded, w.ProvisioningState())
	assert.True(t, w.EntraEnabled())
	assert.Empty(t, w.LinkedServers())
	assert.Equal(t, "1.2", w.MinimumTLSVersion())
	assert.Equal(t, 3, w.MaxClients())
	w.clock.Advance(time.Minute)
	w.eventKind(fakeserver.EventNodeUp)
	c := w.signedIn(fakeserver.DataOwner)
	// What Reset gave up has no effect later.
	require.NoError(t, w.DisableAccessKeys())
	w.Reset()
	c.closed()
	w.clock.Advance(time.Hour)
	assert.Equal(t, "+PONG", w.withKey().line("PING"))
	assert.True(t, w.AccessKeysEnabled())
}
