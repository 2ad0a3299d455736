// The driver's manners, and the translation of replies and errors. What the library does against a cache is the scenarios' subject.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientAuthError } from '@azure/msal-node';
import {
  ClosingError, ConfigurationError, ConnectionError, GlideClient, ProtocolVersion, RequestError, TimeoutError,
} from '@valkey/valkey-glide';
import { closedPort, Driver, testManners } from '../node-driver/manners.mjs';
import { describeError, glideReply } from './values.mjs';

const program = new URL('driver.mjs', import.meta.url);

testManners(program, { name: 'valkey-glide', library: '@valkey/valkey-glide' });

test('an open that fails says why and leaves no client', { timeout: 60_000 }, async t => {
  const driver = new Driver(t, program);
  const cache = { host: '127.0.0.1', port: await closedPort() };
  const cases = [
    [{ kind: 'access-key', access_key: 'k' }, /^(network|timeout)$/],
    [{ kind: 'client-secret', client_id: 'i', client_secret: 's' }, /^token$/],
  ];
  const entra = { authority: `https://127.0.0.1:${await closedPort()}/tenant` };
  for (const [id, [credential, kind]] of cases.entries()) {
    const { error } = await driver.ask({
      id: id + 1, op: 'open', client: 'c', cache, entra, credential, scopes: ['s'], options: { connect_timeout_ms: 300 },
    });
    assert.match(error.kind, kind, error.message);
  }
  assert.equal((await driver.ask({ id: 3, op: 'close', client: 'c' })).error.kind, 'closed');
});

test('the library refuses to make a client on RESP2 that is told of subscriptions', async () => {
  const create = GlideClient.createClient({
    addresses: [{ host: '127.0.0.1', port: await closedPort() }],
    protocol: ProtocolVersion.RESP2,
    pubsubSubscriptions: { channelsAndPatterns: {}, callback: () => {} },
  });
  await assert.rejects(create, error => describeError(error).kind === 'config');
});

test('replies keep their type', () => {
  assert.deepEqual(glideReply(['v', 7, 1.5, Infinity, null, true, [{ key: 'field', value: ['v'] }], []]), {
    type: 'array',
    value: [
      { type: 'bulk', value: 'v' },
      { type: 'integer', value: 7 },
      { type: 'double', value: 1.5 },
      { type: 'double', value: 'inf' },
      { type: 'null', value: null },
      { type: 'boolean', value: true },
      { type: 'map', value: [[{ type: 'bulk', value: 'field' }, { type: 'array', value: [{ type: 'bulk', value: 'v' }] }]] },
      { type: 'array', value: [] },
    ],
  });
});

test('errors keep their text, and get a kind and the word that the server began with', () => {
  const signalled = 'An error was signalled by the server: - ';
  const cases = [
    [new RequestError(`${signalled}PermissionDenied: this user has no permissions`), 'redis', 'NOPERM'],
    [new RequestError(`${signalled}ResponseError: unknown command`), 'redis', 'ERR'],
    [new RequestError(`${signalled}ResponseError: WRONGPASS invalid username-password pair`), 'auth', 'ERR'],
    [new RequestError('WRONGTYPE: Operation against a key'), 'redis', 'WRONGTYPE'],
    [new RequestError('WRONGPASS: invalid username-password pair'), 'auth', 'WRONGPASS'],
    [new RequestError('NOAUTH: Authentication required.'), 'auth', 'NOAUTH'],
    [new RequestError('No connections found for multi-node operation'), 'network', undefined],
    [new ConnectionError('Received connection error'), 'network', undefined],
    [new TimeoutError('timed out'), 'timeout', undefined],
    [new ConfigurationError('x'), 'config', undefined],
    [new ClosingError('Connection error: … WRONGPASS: invalid username-password pair'), 'auth', undefined],
    [new ClosingError('Connection error: … timed out'), 'timeout', undefined],
    [new ClosingError('Connection error: … refused'), 'network', undefined],
    [new ClientAuthError('endpoints_resolution_error'), 'token', undefined],
    [new Error('x'), 'internal', undefined],
  ];
  for (const [error, kind, code] of cases) {
    const described = describeError(error);
    assert.deepEqual([described.kind, described.code], [kind, code], error.message);
    if (!(error instanceof ClientAuthError)) assert.equal(described.message, error.message);
  }
});
