// The sample's pattern, with a library and a credential that only take notes.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { SampleApplication, sampleErrorDescriber } from './azure-sample.mjs';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

let made; // every client of the library, in the order in which they were made
let issued; // every token

class Redis {
  auths = [];
  open = true;

  constructor(options) {
    this.options = options;
    made.push(this);
  }

  on() {}

  async auth(...args) {
    this.auths.push(args);
  }

  async call(...args) {
    if (args[0] === 'FAIL') throw new Error('failed');
    return args[0];
  }

  async subscribe() {}

  disconnect() {
    this.open = false;
  }
}

class ClientSecretCredential {
  async getToken() {
    const payload = Buffer.from(JSON.stringify({ oid: 'object-id', n: issued.length })).toString('base64url');
    issued.push({ token: `head.${payload}.signature`, expiresOnTimestamp: Date.now() + HOUR_MS });
    return issued.at(-1);
  }
}

function application(options = {}, rest = {}) {
  const request = {
    client: 'c',
    cache: { host: '127.0.0.1', port: 1, ca_pem: 'CA' },
    entra: { tenant_id: 't', authority_host: 'https://127.0.0.1:2', ca_pem: 'CA' },
    credential: { kind: 'client-secret', client_id: 'i', client_secret: 's' },
    scopes: ['scope'],
    options,
    ...rest,
  };
  return new SampleApplication({ Redis, defaultResp: 2, identity: { ClientSecretCredential } }, request, () => {});
}

// Lets what has been resolved by now run.
const settle = () => new Promise(resolve => { setImmediate(resolve); });

beforeEach(() => {
  made = [];
  issued = [];
});

test('it signs in with the object ID and the token', async () => {
  const app = application();
  await app.open();
  const { username, password, tls } = made[0].options;
  assert.deepEqual([username, password], ['object-id', issued[0].token]);
  assert.deepEqual(tls, { host: '127.0.0.1', port: 1, ca: 'CA' });
  app.close();
  assert.equal(made[0].open, false);
});

test('it renews two to five minutes before expiry, again and again, and leaves the password as it was', async t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const app = application();
  await app.open();
  for (const renewals of [1, 2, 3]) {
    const due = issued.at(-1).expiresOnTimestamp;
    t.mock.timers.tick(due - 5 * MINUTE_MS - 1 - Date.now());
    await settle();
    assert.equal(made[0].auths.length, renewals - 1, 'not earlier than five minutes');
    while (Date.now() < due - 2 * MINUTE_MS && made[0].auths.length < renewals) {
      t.mock.timers.tick(1000);
      await settle();
    }
    assert.equal(made[0].auths.length, renewals, 'not later than two minutes');
    assert.deepEqual(made[0].auths.at(-1), ['object-id', issued.at(-1).token]);
  }
  assert.equal(made.length, 1);
  assert.equal(made[0].options.password, issued[0].token);
  app.close();
  t.mock.timers.tick(2 * HOUR_MS);
  await settle();
  assert.equal(issued.length, 4, 'a closed client asks for no token');
});

test('a subscriber is renewed where the library lets it send AUTH', async t => {
  for (const [resp, renewed] of [[2, 0], [3, 1]]) {
    made = [];
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const app = application({ resp });
    await app.open();
    await app.subscribe(['news']);
    t.mock.timers.tick(58 * MINUTE_MS);
    await settle();
    assert.deepEqual(made.map(redis => redis.auths.length), [1, renewed], `RESP${resp}`);
    app.close();
    t.mock.timers.reset();
  }
});

test('a command is tried three times, and the client made anew with the cached token after each failure', async t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const app = application();
  await app.open();
  t.mock.timers.tick(58 * MINUTE_MS);
  await settle();
  assert.deepEqual(await app.command(['PING']), { type: 'bulk', value: 'PING' });
  assert.equal(made.length, 1);
  await assert.rejects(app.command(['FAIL']), /failed/);
  assert.deepEqual(made.map(redis => redis.open), [false, false, false, true]);
  assert.equal(made.at(-1).options.password, issued[1].token);
  app.close();
});

test('with an access key there is no sample to follow', async () => {
  const app = application({}, { credential: { kind: 'access-key', access_key: 'key' } });
  await app.open();
  assert.equal(made[0].options.password, 'key');
  assert.equal('username' in made[0].options, false);
  await assert.rejects(app.command(['FAIL']), /failed/);
  assert.equal(made.length, 1);
  app.close();
});

test('a command that blocks has a connection of its own', async () => {
  const app = application();
  await app.open();
  await app.command(['BLPOP', 'key', '1']);
  assert.deepEqual(made.map(redis => redis.open), [true, false]);
  app.close();
});

test('the options of the request reach the library, and no others', async () => {
  const app = application({ resp: 3, connect_timeout_ms: 5, command_timeout_ms: 6 }, { username: 'somebody' });
  await app.open();
  const { protocol, connectTimeout, commandTimeout, username } = made[0].options;
  assert.deepEqual([protocol, connectTimeout, commandTimeout, username], [3, 5, 6, 'somebody']);
  app.close();
  const plain = application();
  await plain.open();
  assert.deepEqual(Object.keys(made[1].options).sort(), ['keepAlive', 'password', 'tls', 'username']);
  plain.close();
});

test('errors get a kind', () => {
  class ReplyError extends Error {}
  const describe = sampleErrorDescriber(ReplyError);
  const named = (name, message = 'x') => Object.assign(new Error(message), { name });
  const kinds = [
    [new ReplyError('WRONGPASS no'), 'auth'],
    [new ReplyError('NOPERM no'), 'redis'],
    [named('AuthenticationError'), 'token'],
    [named('AggregateAuthenticationError'), 'token'],
    [named('CredentialUnavailableError'), 'token'],
    [named('RestError'), 'token'],
    [named('MaxRetriesPerRequestError'), 'network'],
    [named('AbortError'), 'network'],
    [new Error('Connection is closed.'), 'network'],
    [new Error('Command timed out'), 'timeout'],
    [Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' }), 'timeout'],
    [Object.assign(new Error('x'), { code: 'ECONNRESET' }), 'network'],
    [new Error('x'), 'internal'],
  ];
  for (const [error, kind] of kinds) assert.equal(describe(error).kind, kind, `${error.name} ${error.message}`);
});
