//go:build !unix

package fakeserver

func peek(uintptr) bool { return false }
