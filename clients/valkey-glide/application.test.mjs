// The sample's pattern, with a library and an issuer that only take notes.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Application } from './application.mjs';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

let made; // every client of the library, in the order in which they were made
let asked; // how many tokens were asked for
let failure; // what the issuer answers with, if anything
let refusal; // what a client answers a new password with, if anything
let events;

class Client {
  passwords = [];
  open = true;

  static async createClient(options) {
    made.push(Object.assign(new this(), { options }));
    return made.at(-1);
  }

  async updateConnectionPassword(...args) {
    this.passwords.push(args);
    if (refusal) throw refusal;
    return 'OK';
  }

  async subscribe(channels) {
    this.subscribed = [...channels];
  }

  async customCommand([name]) {
    return name;
  }

  async watch(keys) {
    if (refusal) throw refusal;
    this.watched = keys;
  }

  async exec(batch, raiseOnError) {
    assert.equal(raiseOnError, false);
    this.ran = batch;
    return this.watched ? null : batch.commands.map(([name]) => name);
  }

  close() {
    this.open = false;
  }
}

class Cluster extends Client {}

class Batch {
  commands = [];

  constructor(atomic) {
    assert.equal(atomic, true);
  }

  customCommand(args) {
    this.commands.push(args);
  }
}

class ClusterBatch extends Batch {}

class ConfidentialClientApplication {
  #used = false;

  async acquireTokenByClientCredential({ scopes }) {
    assert.deepEqual(scopes, ['scope']);
    assert.equal(this.#used, false, 'MSAL would answer from its cache');
    this.#used = true;
    asked++;
    if (failure) throw failure;
    const payload = Buffer.from(JSON.stringify({ oid: 'object-id', n: asked })).toString('base64url');
    return { accessToken: `head.${payload}.signature`, expiresOn: new Date(Date.now() + HOUR_MS) };
  }
}

const library = {
  ConfidentialClientApplication,
  Batch,
  ClusterBatch,
  GlideClient: Client,
  GlideClientConfiguration: { PubSubChannelModes: { Exact: 'exact' } },
  GlideClusterClient: Cluster,
  ProtocolVersion: { RESP2: 'two', RESP3: 'three' },
};

function application(options = {}, rest = {}) {
  const request = {
    client: 'c',
    cache: { host: '127.0.0.1', port: 1, ca_pem: 'CA' },
    entra: { authority: 'https://127.0.0.1:2/t' },
    credential: { kind: 'client-secret', client_id: 'i', client_secret: 's' },
    scopes: ['scope'],
    options,
    ...rest,
  };
  return new Application(library, request, event => events.push(event));
}

// Lets time pass, and what it has set off run.
async function pass(t, minutes) {
  for (let i = 0; i < minutes; i++) {
    t.mock.timers.tick(MINUTE_MS);
    for (let j = 0; j < 3; j++) await new Promise(resolve => { setImmediate(resolve); });
  }
}

beforeEach(() => {
  made = [];
  events = [];
  asked = 0;
  failure = refusal = undefined;
});

test('it signs in with the object ID and the token', async () => {
  const app = application({ resp: 2, command_timeout_ms: 7 });
  await app.open();
  const { credentials, useTLS, protocol, requestTimeout, advancedConfiguration, ...rest } = made[0].options;
  assert.equal(credentials.username, 'object-id');
  assert.match(credentials.password, /^head\..*\.signature$/);
  assert.deepEqual([useTLS, protocol, requestTimeout], [true, 'two', 7]);
  assert.deepEqual(advancedConfiguration, { connectionTimeout: 2000, tlsAdvancedConfiguration: { rootCertificates: 'CA' } });
  assert.equal('pubsubSubscriptions' in rest, false);
  app.close();
  assert.equal(made[0].open, false);
});

test('it renews a quarter of an hour before expiry, again and again, and signs in at once', async t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const app = application();
  await app.open();
  for (const renewals of [1, 2, 3]) {
    await pass(t, 44);
    assert.equal(made[0].passwords.length, renewals - 1);
    await pass(t, 1);
    assert.equal(made[0].passwords.length, renewals);
    assert.equal(made[0].passwords.at(-1)[1], true);
  }
  assert.equal(new Set(made[0].passwords.map(([password]) => password)).size, 3);
  app.close();
  await pass(t, 120);
  assert.equal(asked, 4, 'a closed client asks for no token');
});

test('a renewal that fails is told, and tried again at a quiet pace for as long as it fails', async t => {
  for (const what of ['refresh-failed', 'reauth-failed']) {
    made = [];
    events = [];
    asked = 0;
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const app = application();
    await app.open();
    if (what === 'refresh-failed') failure = new Error('503');
    else refusal = new Error('refused');
    await pass(t, 120);
    assert.deepEqual([...new Set(events.map(event => event.what))], [what]);
    assert.ok(asked > 10 && asked < 80, `${asked} tokens in two hours`);
    failure = refusal = undefined;
    await pass(t, 2);
    const told = events.length;
    await pass(t, 40);
    assert.equal(events.length, told, 'no failure any more');
    app.close();
    t.mock.timers.reset();
  }
});

test('a command that blocks has a client of its own, which is renewed, too', async t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const app = application({}, { cache: { host: '127.0.0.1', port: 1, cluster: true } });
  await app.open();
  assert.ok(made[0] instanceof Cluster);
  let answer;
  Client.prototype.customCommand = () => new Promise(resolve => { answer = resolve; });
  const blocked = app.command(['BLPOP', 'key', '0']);
  await pass(t, 46);
  assert.deepEqual(made.map(client => client.passwords.length), [1, 1]);
  answer('v');
  assert.deepEqual(await blocked, { type: 'bulk', value: 'v' });
  assert.deepEqual(made.map(client => client.open), [true, false]);
  await pass(t, 46);
  assert.deepEqual(made.map(client => client.passwords.length), [2, 1]);
  app.close();
});

test('a transaction is a batch, and one that watches has a client of its own, which is renewed, too', async t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  for (const cluster of [false, true]) {
    made = [];
    const app = application({}, { cache: { host: '127.0.0.1', port: 1, cluster } });
    await app.open();
    await app.begin([['DECR', 'stock'], ['INCR', 'sold']]);
    assert.equal(made[0].ran, undefined);
    const names = ['DECR', 'INCR'].map(value => ({ type: 'bulk', value }));
    assert.deepEqual(await app.exec(), { type: 'array', value: names });
    assert.deepEqual(made[0].ran.commands, [['DECR', 'stock'], ['INCR', 'sold']]);
    assert.equal(made[0].ran.constructor, cluster ? ClusterBatch : Batch);

    await app.begin([['INCR', 'sold']], ['stock']);
    assert.deepEqual(made.map(client => client.watched), [undefined, ['stock']]);
    await pass(t, 46);
    assert.deepEqual(made.map(client => client.passwords.length), [1, 1]);
    assert.deepEqual(await app.exec(), { type: 'null', value: null });
    assert.deepEqual(made.map(client => client.open), [true, false]);

    refusal = new Error('refused');
    await assert.rejects(app.begin([['INCR', 'sold']], ['stock']), /refused/);
    refusal = undefined;
    assert.deepEqual(made.map(client => client.open), [true, false, false]);
    await assert.rejects(app.exec(), { kind: 'config' });
    app.close();
  }
});

test('it subscribes with its client, but on RESP2 names the channels to a new one', async () => {
  for (const resp of [3, 2]) {
    made = [];
    const app = application({ resp });
    await app.open();
    await app.subscribe(['news']);
    assert.deepEqual(made.map(client => client.subscribed), resp === 3 ? [['news']] : [undefined, undefined]);
    const { channelsAndPatterns } = made.at(-1).options.pubsubSubscriptions;
    assert.deepEqual(channelsAndPatterns, { exact: new Set(resp === 3 ? [] : ['news']) });
    app.close();
  }
});

test('with an access key there is nothing to renew', async () => {
  const app = application({}, { credential: { kind: 'access-key', access_key: 'key' } });
  await app.open();
  assert.deepEqual(made[0].options.credentials, { password: 'key' });
  app.close();
});
