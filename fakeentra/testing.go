package fakeentra

// Tester is the part of *testing.T that RunT uses.
type Tester interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// RunT starts a server for a test and closes it when the test ends. A server
// that cannot start fails the test.
func RunT(t Tester, opts ...Option) *Server {
	t.Helper()
	s, err := Start(opts...)
	if err != nil {
		t.Fatalf("start the fake issuer: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Logf("close the fake issuer: %v", err)
		}
	})
	return s
}
