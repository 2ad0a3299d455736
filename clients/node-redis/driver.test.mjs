// The driver's manners, and the translation of replies and errors. What the
// library does against a cache is the scenarios' subject.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientAuthError } from '@azure/msal-node';
import { ErrorReply, TimeoutError, VerbatimString } from 'redis';
import { closedPort, Driver, testManners } from '../node-driver/manners.mjs';
import { Refusal } from '../node-driver/values.mjs';
import { describeError, nodeRedisReply } from './values.mjs';

const program = new URL('driver.mjs', import.meta.url);

testManners(program, { name: 'node-redis', library: 'redis' });

test('an open that fails says why and leaves no client', { timeout: 30_000 }, async t => {
  const driver = new Driver(t, program);
  const request = {
    op: 'open',
    client: 'c',
    cache: { host: '127.0.0.1', port: await closedPort() },
    credential: { kind: 'access-key', access_key: 'k' },
    options: { connect_timeout_ms: 200 },
  };
  for (const id of [1, 2]) {
    const { error } = await driver.ask({ id, ...request });
    assert.equal(error.kind, 'network');
    assert.match(error.message, /ECONNREFUSED/);
  }
  assert.equal((await driver.ask({ id: 3, op: 'close', client: 'c' })).error.kind, 'closed');
});

test('replies keep their type', () => {
  const reply = ['OK', Buffer.from('v'), 7, 1.5, Infinity, null, true, new VerbatimString('txt', 'text'),
    new ErrorReply('ERR no'), new Map([['field', [Buffer.from('v')]]]), new Set(['member'])];
  assert.deepEqual(nodeRedisReply(reply), {
    type: 'array',
    value: [
      { type: 'simple', value: 'OK' },
      { type: 'bulk', value: 'v' },
      { type: 'integer', value: 7 },
      { type: 'double', value: 1.5 },
      { type: 'double', value: 'inf' },
      { type: 'null', value: null },
      { type: 'boolean', value: true },
      { type: 'verbatim', value: 'text' },
      { type: 'error', value: 'ERR no' },
      { type: 'map', value: [[{ type: 'bulk', value: 'field' }, { type: 'array', value: [{ type: 'bulk', value: 'v' }] }]] },
      { type: 'set', value: [{ type: 'bulk', value: 'member' }] },
    ],
  });
});

test('errors keep their text and get a kind', () => {
  assert.deepEqual(describeError(new ErrorReply('NOPERM no')), {
    kind: 'redis', message: 'NOPERM no', code: 'NOPERM', exception: 'ErrorReply',
  });
  const kinds = [
    [new ErrorReply('WRONGPASS no'), 'auth'],
    [new ErrorReply('ERR WRONGPASS no'), 'auth'],
    [new ErrorReply('NOAUTH no'), 'auth'],
    [new ErrorReply('ERR the word WRONGPASS inside'), 'redis'],
    [new ClientAuthError('endpoints_resolution_error'), 'token'],
    [Object.assign(new Error('x'), { code: 'ECONNRESET' }), 'network'],
    [Object.assign(new Error('x'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }), 'network'],
    [Object.assign(new Error('x'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }), 'network'],
    [Object.assign(new TypeError('x'), { code: 'ERR_INVALID_ARG_TYPE' }), 'config'],
    [new Refusal('closed', 'x'), 'closed'],
    [new Error('x'), 'internal'],
  ];
  for (const [error, kind] of kinds) assert.equal(describeError(error).kind, kind, error.message);
  assert.equal(describeError(new TimeoutError()).message, 'TimeoutError');
});
