//go:build !linux

package driver

type instant struct{ real, monotonic nanos }

type nanos struct{}

func (nanos) Nano() int64 { return 0 }

func thisInstant() (instant, error) { return instant{}, errNoVirtualTime }

type sharedStart struct{}

func shareStart(instant) (*sharedStart, error) { return nil, errNoVirtualTime }

func (*sharedStart) names() string { return "" }

func (*sharedStart) remove() error { return nil }
