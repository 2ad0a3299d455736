package fakeentra_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

const insideNamespace = "FAKEENTRA_TEST_INSIDE_NAMESPACE"

// The folder belongs to root. So that this test can be run by anybody, and leaves
// nothing on the machine, it runs itself again with mounts of its own, and with an
// empty folder in that place.
func TestArcWithTheFolderThatLibrariesInsistOn(t *testing.T) {
	if os.Getenv(insideNamespace) != "" {
		signInWithArc(t)
		return
	}
	cmd := exec.CommandContext(boundedContext(t), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skipf("this machine lets nobody make mounts of their own, which this test needs: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("in a namespace of its own:\n%s", out)
	}
	require.NoError(t, err, "in a namespace of its own:\n%s", out)
	require.Contains(t, string(out), "--- PASS", "it ran")
}

func signInWithArc(t *testing.T) {
	top := "/var/opt"
	require.True(t, strings.HasPrefix(fakeentra.ArcKeyFolder(), top+"/"))
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("make the mounts private: %v", err)
	}
	if err := syscall.Mount("tmpfs", top, "tmpfs", 0, ""); err != nil {
		t.Skipf("mount an empty folder on %s: %v", top, err)
	}
	s := fakeentra.RunT(t, fakeentra.WithArcKeyFolder(fakeentra.ArcKeyFolder()))
	system := s.RegisterManagedIdentity("server", fakeentra.WithSystemAssigned())
	user := s.RegisterManagedIdentity("orders")
	setIdentityEnv(t, s, fakeentra.SourceAzureArc, system)

	token, err := identityCredential(t, s, nil).GetToken(boundedContext(t), freshToken)
	require.NoError(t, err)
	require.Equal(t, system.ObjectID, verify(t, s, token.Token)["oid"])
	for _, id := range []azidentity.ManagedIDKind{
		azidentity.ClientID(user.ClientID), azidentity.ObjectID(user.ObjectID), azidentity.ResourceID(user.ResourceID),
	} {
		token, err = identityCredential(t, s, id).GetToken(boundedContext(t), freshToken)
		require.NoError(t, err, "%T", id)
		require.Equal(t, user.ObjectID, verify(t, s, token.Token)["oid"], "%T", id)
	}
	require.NoError(t, s.Close())
	left, err := filepath.Glob(top + "/*")
	require.NoError(t, err)
	require.Empty(t, left)
}
