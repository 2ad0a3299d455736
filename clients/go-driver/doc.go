// Package driver is what entracache's drivers in Go share: the conversation with the harness (requests as JSON lines on stdin, replies
// and events as JSON lines on stdout, stderr for people), replies and errors in the protocol's terms as far as the libraries agree, and
// the application's way to Microsoft Entra. Nothing here knows a Redis library: a driver hands over a [Library] to [Main].
package driver
