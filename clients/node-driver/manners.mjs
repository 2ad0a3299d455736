// Tests of a driver's manners on its streams, the same for every driver.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** A running driver and the conversation with it. */
export class Driver {
  #waiting = new Map();
  lines = [];
  stderr = '';

  constructor(t, program, nodeArguments = []) {
    this.process = spawn(process.execPath, [...nodeArguments, fileURLToPath(program)]);
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

/** A port on which nobody listens. */
export async function closedPort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Registers the tests for the driver at the URL `program`. */
export function testManners(program, { name, library }) {
  test('hello names the installed libraries and the capabilities', { timeout: 30_000 }, async t => {
    const driver = new Driver(t, program);
    const reply = await driver.ask({ id: 1, op: 'hello', protocol: 1, harness: 'test' });
    assert.equal(reply.ok, true);
    assert.equal(reply.protocol, 1);
    assert.equal(reply.driver.name, name);
    assert.equal(reply.driver.libraries[0].name, library);
    reply.driver.libraries.forEach(({ version }) => assert.match(version, /^\d+\.\d+\.\d+/));
    assert.ok(reply.capabilities.includes('credential:client-secret'));
    assert.equal((await driver.ask({ id: 2, op: 'hello', protocol: 2 })).error.kind, 'unsupported');
  });

  test('what it does not know it refuses by name', { timeout: 30_000 }, async t => {
    const driver = new Driver(t, program);
    const cases = [
      [{ op: 'toString' }, 'unsupported'],
      [{ op: 'open', client: 'c', credential: { kind: 'carrier-pigeon' }, cache: { host: '127.0.0.1', port: 1 } }, 'unsupported'],
      [{ op: 'command', client: 'c', args: ['PING'] }, 'closed'],
      [{ op: 'subscribe', client: 'c', channels: ['x'] }, 'closed'],
      [{ op: 'begin', client: 'c', commands: [['PING']] }, 'closed'],
      [{ op: 'exec', client: 'c' }, 'closed'],
      [{ op: 'close', client: 'c' }, 'closed'],
    ];
    const replies = await Promise.all(cases.map(([request], id) => driver.ask({ id: id + 1, ...request })));
    assert.deepEqual(replies.map(reply => reply.error?.kind), cases.map(([, kind]) => kind));
  });

  test('nothing but the protocol reaches stdout', { timeout: 30_000 }, async t => {
    const stray = `process.on('SIGUSR2', () => {
      console.log('stray line');
      process.stdout.write('{"id":2,"ok":true,"stray":true}\\n');
    });`;
    const driver = new Driver(t, program, ['--import', `data:text/javascript,${encodeURIComponent(stray)}`]);
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
    const driver = new Driver(t, program, ['--import', `data:text/javascript,${encodeURIComponent(escape)}`]);
    await driver.ask({ id: 1, op: 'hello', protocol: 1 });
    driver.process.kill('SIGUSR2');
    assert.equal(await driver.exit, 1);
    assert.match(driver.stderr, /Error: escaped/);
  });

  test('a request may come in pieces and hold any character', { timeout: 30_000 }, async t => {
    const driver = new Driver(t, program);
    const request = Buffer.from('{"id":1,"op":"\u2028é"}\n');
    driver.process.stdin.write(request.subarray(0, 16));
    await new Promise(resolve => { driver.process.stdin.write(Buffer.alloc(0), resolve); });
    driver.process.stdin.end(request.subarray(16));
    assert.equal(await driver.exit, 0);
    assert.equal(JSON.parse(driver.lines[0]).error.kind, 'unsupported');
  });
}
