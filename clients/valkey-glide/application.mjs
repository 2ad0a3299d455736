// An application that uses Valkey GLIDE with Microsoft Entra.
//
// GLIDE has a user name and a password, and a call that tells a client its next password, with which it signs in at once on all its
// connections, and from then on when it reconnects: updateConnectionPassword(password, true). That call is all that the library offers
// (https://glide.valkey.io/concepts/client-features/dynamic-authentication/); to get tokens in time is the application's part, and here it
// is the plainest that the specification allows.

import { blocks } from '../node-driver/blocking.mjs';
import { Refusal } from '../node-driver/values.mjs';
import { tokenSource } from './tokens.mjs';
import { describeError, glideReply } from './values.mjs';

const RENEW_AT = 0.75; // of what a token has left: a quarter of an hour before its end
const LEAST_PAUSE = 1 / 60; // of a token's life, between two attempts: a minute

// The library's own: time on the network stays as long as it is, also where this process's clock is faster.
const DEFAULT_CONNECTION_TIMEOUT_MS = 2000;
const DEFAULT_REQUEST_TIMEOUT_MS = 250;

export class Application {
  #library;
  #request;
  #emit;
  #askForToken; // undefined with an access key
  #token; // the current one: { username, password, expires, life }
  #renewal; // the timer
  #client;
  #clients = new Set(); // that one, and those that wait in a blocking command or watch keys
  #transaction; // { batch, client }: the one that was begun
  #closed = false;

  /**
   * @param library of MSAL { ConfidentialClientApplication, ManagedIdentityApplication }, of GLIDE { Batch, ClusterBatch, GlideClient,
   *   GlideClientConfiguration, GlideClusterClient, ProtocolVersion }
   * @param request the protocol's request to open a client
   * @param emit sends an event for the client
   */
  constructor(library, request, emit) {
    this.#library = library;
    this.#request = request;
    this.#emit = emit;
    if (request.credential?.kind !== 'access-key') this.#askForToken = tokenSource(library, request);
  }

  async open() {
    if (this.#askForToken) {
      this.#token = await this.#requestToken();
      this.#renewLater();
    }
    this.#client = await this.#connect();
  }

  async command(args) {
    try {
      return glideReply(blocks(args) ? await this.#runAlone(args) : await this.#client.customCommand(args));
    } catch (error) {
      if (this.#closed) throw new Refusal('closed', `closed while the command ran: ${error.message}`);
      throw error;
    }
  }

  // The library's documentation: a command that blocks needs a client of its own.
  async #runAlone(args) {
    const own = await this.#connect();
    try {
      return await own.customCommand(args);
    } finally {
      this.#leave(own);
    }
  }

  #leave(own) {
    this.#clients.delete(own);
    own.close();
  }

  // The library's documentation: a batch that is atomic is sent as MULTI, the commands and EXEC together; to watch needs a client of its
  // own, as to block does.
  async begin(commands, watch) {
    const { Batch, ClusterBatch } = this.#library;
    const batch = new (this.#request.cache.cluster ? ClusterBatch : Batch)(true);
    commands.forEach(args => batch.customCommand(args));
    let client = this.#client;
    if (watch) {
      client = await this.#connect();
      try {
        await client.watch(watch);
      } catch (error) {
        this.#leave(client);
        throw error;
      }
    }
    this.#transaction = { batch, client };
  }

  async exec() {
    if (!this.#transaction) throw new Refusal('config', 'no transaction was begun');
    const { batch, client } = this.#transaction;
    this.#transaction = undefined;
    try {
      return glideReply(await client.exec(batch, false));
    } finally {
      if (client !== this.#client) this.#leave(client);
    }
  }

  // The library takes subscriptions on RESP3 only, but refuses them on RESP2 only when they are named as a client is made: subscribe()
  // would send SUBSCRIBE over and over.
  async subscribe(channels) {
    if (this.#request.options?.resp === 2) await this.#connect(channels);
    else await this.#client.subscribe(new Set(channels), this.#requestTimeout);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#renewal);
    this.#clients.forEach(client => client.close());
  }

  async #connect(channels = []) {
    const { cache, credential, options = {} } = this.#request;
    const { GlideClient, GlideClusterClient, GlideClientConfiguration, ProtocolVersion } = this.#library;
    const Client = cache.cluster ? GlideClusterClient : GlideClient;
    const client = await Client.createClient({
      addresses: [{ host: cache.host, port: cache.port }],
      useTLS: true,
      credentials: this.#token
        ? { username: this.#token.username, password: this.#token.password }
        : { ...(this.#request.username && { username: this.#request.username }), password: credential.access_key },
      requestTimeout: this.#requestTimeout,
      ...(options.resp && { protocol: options.resp === 2 ? ProtocolVersion.RESP2 : ProtocolVersion.RESP3 }),
      ...((options.resp !== 2 || channels.length > 0) && {
        pubsubSubscriptions: {
          channelsAndPatterns: { [GlideClientConfiguration.PubSubChannelModes.Exact]: new Set(channels) },
          callback: message => this.#deliver(message),
        },
      }),
      advancedConfiguration: {
        connectionTimeout: options.connect_timeout_ms ?? DEFAULT_CONNECTION_TIMEOUT_MS * (options.clock_rate ?? 1),
        ...(cache.ca_pem && { tlsAdvancedConfiguration: { rootCertificates: cache.ca_pem } }),
      },
    });
    if (this.#closed) {
      client.close();
      throw new Refusal('closed', 'closed while the client was connecting');
    }
    this.#clients.add(client);
    return client;
  }

  get #requestTimeout() {
    const { command_timeout_ms: timeout, clock_rate: rate = 1 } = this.#request.options ?? {};
    return timeout ?? DEFAULT_REQUEST_TIMEOUT_MS * rate;
  }

  #deliver({ channel, message }) {
    this.#emit({ event: 'message', channel: String(channel), value: String(message) });
  }

  async #requestToken() {
    const { accessToken, expiresOn } = await this.#askForToken();
    const username = this.#request.username ?? JSON.parse(Buffer.from(accessToken.split('.')[1], 'base64url')).oid;
    return { username, password: accessToken, expires: expiresOn.getTime(), life: expiresOn.getTime() - Date.now() };
  }

  #renewLater() {
    const { expires, life } = this.#token;
    this.#renewal = setTimeout(() => this.#renew(), Math.max((expires - Date.now()) * RENEW_AT, life * LEAST_PAUSE));
  }

  // A renewal that fails is tried again, with another token. What failed is told as the library, or MSAL, tells it.
  async #renew() {
    let step = 'refresh-failed';
    try {
      const token = await this.#requestToken();
      step = 'reauth-failed';
      await Promise.all([...this.#clients].map(client => client.updateConnectionPassword(token.password, true)));
      this.#token = token;
    } catch (error) {
      console.error(`${this.#request.client}: ${step}: ${error.name}: ${error.message}`);
      if (!this.#closed) this.#emit({ event: 'token', what: step, error: describeError(error) });
    }
    if (!this.#closed) this.#renewLater();
  }
}
