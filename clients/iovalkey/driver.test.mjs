// The driver's manners, and what of the library's errors its translation rests
// on. What the library does against a cache is the scenarios' subject.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis, ReplyError } from 'iovalkey';
import { sampleErrorDescriber } from '../node-driver/azure-sample.mjs';
import { closedPort, Driver, testManners } from '../node-driver/manners.mjs';

const program = new URL('driver.mjs', import.meta.url);

testManners(program, { name: 'iovalkey', library: 'iovalkey' });

test('it says how long tokens must live', { timeout: 30_000 }, async t => {
  const { limits } = await new Driver(t, program).ask({ id: 1, op: 'hello', protocol: 1 });
  assert.deepEqual(limits, { min_token_lifetime_ms: 360_000 });
});

test('an open without a token says why and leaves no client', { timeout: 60_000 }, async t => {
  const driver = new Driver(t, program);
  const open = {
    op: 'open',
    client: 'c',
    cache: { host: '127.0.0.1', port: await closedPort() },
    entra: { authority_host: `https://127.0.0.1:${await closedPort()}`, tenant_id: 'tenant' },
    credential: { kind: 'client-secret', client_id: 'i', client_secret: 's' },
    scopes: ['https://redis.azure.com/.default'],
  };
  assert.equal((await driver.ask({ id: 1, ...open })).error.kind, 'token');
  assert.equal((await driver.ask({ id: 2, op: 'close', client: 'c' })).error.kind, 'closed');
});

test('the library tells what became of a command, and the driver in which words', { timeout: 30_000 }, async () => {
  const describe = sampleErrorDescriber(ReplyError);
  const caught = async options => {
    const redis = new Redis({ port: await closedPort(), retryStrategy: () => 1, ...options }).on('error', () => {});
    try {
      return await redis.call('PING').catch(describe);
    } finally {
      redis.disconnect();
    }
  };
  assert.equal((await caught({ maxRetriesPerRequest: 1 })).kind, 'network');
  assert.equal((await caught({ retryStrategy: () => null })).kind, 'network');
  assert.equal((await caught({ commandTimeout: 20, maxRetriesPerRequest: null })).kind, 'timeout');
  assert.deepEqual(describe(new ReplyError('NOPERM no')), {
    kind: 'redis', message: 'NOPERM no', code: 'NOPERM', exception: 'ReplyError',
  });
});
