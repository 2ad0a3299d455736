// What the drivers in JavaScript have in common: the answers to the protocol's
// operations, and the clients that are open. The library is each driver's own.
//
// There is no handler for uncaught exceptions or rejections on purpose: where a
// library or its documented wiring lets one escape, an application would end,
// and so does the driver (trace on stderr, exit code 1).

import { send, serve } from './protocol.mjs'; // before anything that could print
import { readFileSync } from 'node:fs';
import { Refusal } from './values.mjs';

const PROTOCOL = 1;

/**
 * Answers the harness until it says shutdown.
 *
 * @param name the driver's name, that of its folder
 * @param home the URL of the driver's program, beside its node_modules
 * @param libraries names of packages; the first is the one under test
 * @param capabilities what the driver declares
 * @param limits the protocol's limits, if the library has any
 * @param open makes a session of a request, a function that sends an event
 *   for it, and the session whose provider it shares, if any; a session has
 *   open(), command(args), subscribe(channels), begin(commands, watch), exec()
 *   and close()
 * @param describeError turns a thrown value into the protocol's error object
 */
export function drive({ name, home, libraries, capabilities, limits, open: newSession, describeError }) {
  const sessions = new Map();

  function session({ client }) {
    const found = sessions.get(client);
    if (!found) throw new Refusal('closed', `no client ${JSON.stringify(client)} is open`);
    return found;
  }

  function version(library) {
    return JSON.parse(readFileSync(new URL(`node_modules/${library}/package.json`, home), 'utf8')).version;
  }

  function hello({ protocol }) {
    if (protocol !== PROTOCOL) {
      throw new Refusal('unsupported', `this driver speaks protocol ${PROTOCOL}, not ${JSON.stringify(protocol)}`);
    }
    return {
      protocol: PROTOCOL,
      driver: {
        name,
        language: 'javascript',
        libraries: libraries.map(library => ({ name: library, version: version(library) })),
        runtime: `node ${process.version}`,
        os: `${process.platform}/${process.arch}`,
      },
      capabilities,
      ...(limits && { limits }),
    };
  }

  async function open(request) {
    const { client } = request;
    if (sessions.has(client)) throw new Refusal('config', `a client ${JSON.stringify(client)} is already open`);
    console.error(`${client}: opened for ${request.scenario}`);
    const opening = newSession(request, event => {
      // A library may go on after its last client is gone; to the harness the
      // client no longer exists.
      if (sessions.get(client) === opening) send({ ...event, client });
    }, request.provider_of && session({ client: request.provider_of }));
    sessions.set(client, opening);
    try {
      await opening.open();
    } catch (error) {
      if (sessions.get(client) === opening) sessions.delete(client);
      opening.close();
      throw error;
    }
  }

  function close(request) {
    const closing = session(request);
    sessions.delete(request.client);
    closing.close();
  }

  function shutdown() {
    sessions.forEach(opened => opened.close());
    sessions.clear();
  }

  serve(new Map(Object.entries({
    hello,
    open,
    command: async request => ({ reply: await session(request).command(request.args) }),
    subscribe: request => session(request).subscribe(request.channels),
    begin: request => session(request).begin(request.commands, request.watch),
    exec: async request => ({ reply: await session(request).exec() }),
    close,
    shutdown,
  })), describeError);
}
