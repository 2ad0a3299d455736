package driver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/entracache/entracache/scenarios/protocol"
)

// FuzzReadLine: whatever a driver prints, in whatever pieces it arrives, each line is returned once and in order, and none that is
// longer than the protocol's is taken.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte(""), 16)
	f.Add([]byte(`{"id":1,"ok":true}`+"\n"), 16)
	f.Add([]byte("\n\n\r\n{}\nthe rest"), 17)
	f.Add([]byte("a line that is longer than the buffer of the reader, and another\n\x00\xff\n"), 16)
	f.Add(bytes.Repeat([]byte("x"), protocol.MaxLine), 4096)
	f.Add(append(bytes.Repeat([]byte("x"), protocol.MaxLine), '\n', 'y', '\n'), 4096)
	f.Add(append(bytes.Repeat([]byte("x"), protocol.MaxLine+1), '\n'), 4096)
	f.Fuzz(func(t *testing.T, printed []byte, buffer int) {
		var source io.Reader = bytes.NewReader(printed)
		if len(printed) < 1<<12 {
			source = iotest.OneByteReader(source)
		}
		r := bufio.NewReaderSize(source, buffer&0xfff)
		for rest := printed; ; {
			line, err := readLine(r)
			want, after, ended := bytes.Cut(rest, []byte("\n"))
			switch {
			case len(want) > protocol.MaxLine:
				if !errors.Is(err, errLong) {
					t.Fatalf("a line of %d bytes was taken: %v", len(want), err)
				}
				return
			case !bytes.Equal(line, want):
				t.Fatalf("expected %q, got %q", want, line)
			case ended && err != nil, !ended && err != io.EOF:
				t.Fatalf("after %q: %v", line, err)
			case !ended:
				return
			}
			rest = after
		}
	})
}
