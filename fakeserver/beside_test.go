package fakeserver_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestDoRunsBesideTheWire(t *testing.T) {
	s := fakeserver.RunT(t)
	_, err := s.Do("SET", "greeting", "hello")
	require.NoError(t, err)
	reply, err := s.Do("get", "greeting")
	require.NoError(t, err)
	assert.Equal(t, "$5\r\nhello\r\n", reply)
	reply, err = s.Do("PUBLISH", "news", "nobody hears")
	require.NoError(t, err)
	assert.Equal(t, ":0\r\n", reply)
	assert.Empty(t, s.Events())

	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "expected a command"},
		{[]string{"FOO", "x"}, "unknown command `FOO`"},
		{[]string{"GET"}, "wrong number of arguments for 'get'"},
		{[]string{"LPUSH", "greeting", "x"}, "WRONGTYPE"},
		{[]string{"SUBSCRIBE", "news"}, "about a connection"},
		{[]string{"BLPOP", "list", "0"}, "about a connection"},
		{[]string{"MULTI"}, "about a connection"},
	} {
		_, err := s.Do(c.args...)
		assert.ErrorContains(t, err, c.want)
	}
}
