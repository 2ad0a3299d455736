// The driver's manners on its streams, and the translation of replies and
// errors. What the library does against a cache is the scenarios' subject.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ClientAuthError } from '@azure/msal-node';
import { ErrorReply, TimeoutError, VerbatimString } from 'redis';
import { describeError, Refusal, typedReply } from './values.mjs';

class Driver {
  #waiting = new Map();
  lines = [];
  stderr = '';

  constructor(t, nodeArguments = []) {
    const program = fileURLToPath(new URL('driver.mjs', import.meta.url));
    this.process = spawn(process.execPath, [...nodeArguments, program]);
    t.after(() => this.process.kill());
    this.exit = once(this.process, 'close').then(([code]) => code);
    this.process.stderr.setEncoding('utf8').on('data', text => { this.stderr += text; });
    createInterface({ input: this.process.stdout }).on('line', line => {
      this.lines.push(line);
      const reply = JSON.parse(line);
      this.#waiting.get(reply.id)?.(reply);
    });
  }

  ask(request) {
    return new Promise(resolve => {
      this.#waiting.set(request.id, resolve);
      this.process.stdin.write(`${JSON.stringify(request)}\n`);
    });
  }
}

async function closedPort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

test('hello names the installed libraries and the capabilities', { timeout: 30_000 }, async t => {
  const driver = new Driver(t);
  const reply = await driver.ask({ id: 1, op: 'hello', protocol: 1, harness: 'test' });
  assert.equal(reply.ok, true);
  assert.equal(reply.protocol, 1);
  assert.equal(reply.driver.name, 'node-redis');
  assert.equal(reply.driver.libraries[0].name, 'redis');
  reply.driver.libraries.forEach(({ version }) => assert.match(version, /^\d+\.\d+\.\d+/));
  assert.ok(reply.capabilities.includes('credential:client-secret'));
  assert.equal((await driver.ask({ id: 2, op: 'hello', protocol: 2 })).error.kind, 'unsupported');
});

test('what it does not know it refuses by name', { timeout: 30_000 }, async t => {
  const driver = new Driver(t);
  const cases = [
    [{ op: 'toString' }, 'unsupported'],
    [{ op: 'open', client: 'c', credential: { kind: 'carrier-pigeon' }, cache: { host: '127.0.0.1', port: 1 } }, 'unsupported'],
    [{ op: 'command', client: 'c', args: ['PING'] }, 'closed'],
    [{ op: 'subscribe', client: 'c', channels: ['x'] }, 'closed'],
    [{ op: 'close', client: 'c' }, 'closed'],
  ];
  const replies = await Promise.all(cases.map(([request], id) => driver.ask({ id: id + 1, ...request })));
  assert.deepEqual(replies.map(reply => reply.error?.kind), cases.map(([, kind]) => kind));
});

test('an open that fails says why and leaves no client', { timeout: 30_000 }, async t => {
  const driver = new Driver(t);
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

test('nothing but the protocol reaches stdout', { timeout: 30_000 }, async t => {
  const stray = `process.on('SIGUSR2', () => {
    console.log('stray line');
    process.stdout.write('{"id":2,"ok":true,"stray":true}\\n');
  });`;
  const driver = new Driver(t, ['--import', `data:text/javascript,${encodeURIComponent(stray)}`]);
  await driver.ask({ id: 1, op: 'hello', protocol: 1 });
  driver.process.kill('SIGUSR2');
  while (!driver.stderr.includes('"stray"')) await once(driver.process.stderr, 'data');
  assert.match(driver.stderr, /stray line/);
  driver.process.stdin.write('not JSON\n\n{"op":"hello"}\n');
  await driver.ask({ id: 2, op: 'shutdown' });
  assert.equal(await driver.exit, 0);
  assert.equal(driver.lines.length, 2);
  assert.equal(driver.lines[1], '{"id":2,"ok":true}');
});

test('an error that nobody caught ends the driver', { timeout: 30_000 }, async t => {
  const escape = "process.on('SIGUSR2', () => { Promise.reject(new Error('escaped')); });";
  const driver = new Driver(t, ['--import', `data:text/javascript,${encodeURIComponent(escape)}`]);
  await driver.ask({ id: 1, op: 'hello', protocol: 1 });
  driver.process.kill('SIGUSR2');
  assert.equal(await driver.exit, 1);
  assert.match(driver.stderr, /Error: escaped/);
});

test('a request may come in pieces and hold any character', { timeout: 30_000 }, async t => {
  const driver = new Driver(t);
  const request = Buffer.from('{"id":1,"op":"\u2028é"}\n');
  driver.process.stdin.write(request.subarray(0, 16));
  await new Promise(resolve => { driver.process.stdin.write(Buffer.alloc(0), resolve); });
  driver.process.stdin.end(request.subarray(16));
  assert.equal(await driver.exit, 0);
  assert.equal(JSON.parse(driver.lines[0]).error.kind, 'unsupported');
});

test('replies keep their type', () => {
  const reply = ['OK', Buffer.from('v'), 7, 1.5, Infinity, null, true, new VerbatimString('txt', 'text'),
    new ErrorReply('ERR no'), new Map([['field', [Buffer.from('v')]]]), new Set(['member'])];
  assert.deepEqual(typedReply(reply), {
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
