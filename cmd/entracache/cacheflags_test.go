package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServeManagesTheCache(t *testing.T) {
	t.Setenv("ENTRACACHE_MAX_CLIENTS", "1")
	s := serve(t, append(anyPorts, "--primary-key", "key-one", "--min-tls-version", "1.1", "--metrics-addr", "127.0.0.1:0", "--sku", "Standard_C1")...)
	config, err := s.trust()
	require.NoError(t, err)
	config.MinVersion, config.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	byKey := redis.NewClient(&redis.Options{Addr: s.cacheAddr(), Password: "key-one", TLSConfig: config, MaxRetries: -1, PoolSize: 1})
	t.Cleanup(func() { _ = byKey.Close() })
	require.NoError(t, byKey.Ping(t.Context()).Err())
	config, err = s.trust()
	require.NoError(t, err)
	second, err := tls.Dial("tcp", s.cacheAddr(), config)
	require.NoError(t, err)
	defer second.Close()
	refusal, err := io.ReadAll(second)
	require.NoError(t, err)
	assert.Equal(t, "-ERR max number of clients reached\r\n", string(refusal))

	require.NotNil(t, s.Metrics)
	response, err := http.Get(s.Metrics.URL)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Contains(t, string(text), "\nentracache_connected_clients 1\n")
	assert.Contains(t, string(text), "\nentracache_connected_clients_using_microsoft_entra_token 0\n")
	code, _ := s.stop()
	assert.Equal(t, exitExpected, code)
	_, err = http.Get(s.Metrics.URL)
	assert.Error(t, err, "the metrics end with the pair")
}

func TestServeAClusteredCache(t *testing.T) {
	s := serve(t, append(anyPorts, "--primary-key", "key-one", "--shards", "3", "--replicas", "0")...)
	config, err := s.trust()
	require.NoError(t, err)
	byKey := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.cacheAddr()}, Password: "key-one", TLSConfig: config})
	t.Cleanup(func() { _ = byKey.Close() })
	info, err := byKey.ClusterInfo(t.Context()).Result()
	require.NoError(t, err)
	assert.Contains(t, info, "cluster_known_nodes:3\r\ncluster_size:3\r\n")
	for _, key := range []string{"a", "b", "foo"} {
		require.NoError(t, byKey.Set(t.Context(), key, key, 0).Err())
		assert.Equal(t, key, byKey.Get(t.Context(), key).Val())
	}
}

func TestServeWithAccessKeysDisabled(t *testing.T) {
	s := serve(t, append(anyPorts, "--primary-key", "key-one", "--access-keys", "disabled")...)
	assert.Nil(t, s.Metrics)
	require.NoError(t, s.client(t).Ping(t.Context()).Err())
	config, err := s.trust()
	require.NoError(t, err)
	byKey := redis.NewClient(&redis.Options{Addr: s.cacheAddr(), Password: "key-one", TLSConfig: config, MaxRetries: -1})
	t.Cleanup(func() { _ = byKey.Close() })
	assert.ErrorContains(t, byKey.Ping(t.Context()).Err(), "WRONGPASS")
}

func TestServeRefusesToManage(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--sku Premium_P9", "--sku: unknown SKU"},
		{"--sku Premium_P1 --profile oss-6.0", "--sku: profile"},
		{"--shards 17", "--shards: expected 1 to 16"},
		{"--shards 2 --sku Standard_C1", "--shards: clustering is there in the tier Premium"},
		{"--replicas 4", "--replicas: expected 0 to 3"},
		{"--node-port 15000", "together with --shards"},
		{"--max-clients -1", "--max-clients"},
		{"--idle-timeout -1s", "--idle-timeout"},
		{"--min-tls-version 1.3", "--min-tls-version"},
		{"--access-keys off", "--access-keys"},
		{"--secondary-key x", "--primary-key"},
		{"--metrics-addr nonsense", "--metrics-addr"},
	} {
		code, _, stderr := command(t, append(append([]string{"serve"}, anyPorts...), strings.Fields(c.args)...)...)
		assert.Equal(t, exitUsage, code, c.args)
		assertRefused(t, stderr, c.says)
	}
}
