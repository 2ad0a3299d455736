// The wiring of Microsoft's sample for ioredis, in its section on a token cache,
// for ioredis and what has been forked from it:
// https://github.com/Azure/azure-sdk-for-js/blob/main/sdk/identity/identity/samples/AzureCacheForRedis/ioredis.md
//
// It is followed in what it does, and improved in nothing. Where it leaves a
// rejection to nobody, so does this.

import { blocks } from './blocking.mjs';
import { errorDescriber, Refusal, typedReply } from './values.mjs';

const TRIES = 3; // of a command
const EARLIEST_RENEWAL_MS = 300_000; // before expiry, as
const LATEST_RENEWAL_MS = 120_000; // the sample has it

/**
 * What the harness has to know of the margins above: a token that lives for five
 * minutes or less may be due for renewal when it comes, and is then asked for
 * again at once. With six minutes a renewal comes one to four minutes after the
 * last one.
 */
export const LIMITS = { min_token_lifetime_ms: EARLIEST_RENEWAL_MS + 60_000 };

/** An application that has one client of the library, wired as the sample has it. */
export class SampleApplication {
  #library;
  #request;
  #options;
  #emit;
  #credential; // undefined with an access key, for which there is no sample
  #cachedToken;
  #accessToken; // the copy of the cached token with which #redis was made
  #renewal;
  #redis;
  #subscriber;
  #blocked = new Set(); // connections that wait in a blocking command
  #transaction; // the client on which one was begun
  #closed = false;

  /**
   * @param library { Redis, defaultResp, identity }, the last being @azure/identity
   * @param request the protocol's request to open a client
   * @param emit sends an event for the client
   */
  constructor(library, request, emit) {
    this.#library = library;
    this.#request = request;
    this.#options = request.options ?? {};
    this.#emit = emit;
    const { credential, entra } = request;
    switch (credential?.kind) {
      case 'access-key':
        break;
      case 'client-secret':
      case 'certificate':
      case 'workload-identity':
      case 'managed-identity':
        this.#credential = azureCredential(library, credential, entra);
        break;
      default:
        throw new Refusal('unsupported', `this driver has no credential kind ${JSON.stringify(credential?.kind)}`);
    }
  }

  async open() {
    if (this.#credential) await this.#updateToken();
    this.#redis = this.#connectAnew();
  }

  // The sample runs its commands in such a loop. What it asks before it makes the
  // client anew (`redis.status === "end" || "close"`) is always true.
  async command(args) {
    if (!this.#credential) return reply(await this.#run(args));
    let failure;
    for (let i = 0; i < TRIES; i++) {
      try {
        return reply(await this.#run(args));
      } catch (error) {
        if (this.#closed) throw new Refusal('closed', `closed while the command ran: ${error.message}`);
        failure = error;
        this.#redis.disconnect();
        this.#redis = this.#connectAnew();
      }
    }
    throw failure;
  }

  // The library's README: pub/sub in the same process wants a connection of its own.
  async subscribe(channels) {
    if (!this.#subscriber) {
      this.#subscriber = this.#connect(this.#cachedToken);
      this.#subscriber.on('message', (channel, value) => this.#emit({ event: 'message', channel, value }));
    }
    await this.#subscriber.subscribe(...channels);
  }

  // The library's README: with pipeline false, each command is sent as it comes
  // and answered QUEUED. The sample has no transactions, and so no tries for them.
  async begin(commands, watch) {
    const redis = this.#redis;
    if (watch) await redis.watch(...watch);
    await Promise.all([redis.multi({ pipeline: false }), ...commands.map(args => redis.call(...args))]);
    this.#transaction = redis;
  }

  async exec() {
    if (!this.#transaction) throw new Refusal('config', 'no transaction was begun');
    const redis = this.#transaction;
    this.#transaction = undefined;
    const results = await redis.exec();
    return reply(results && results.map(([error, value]) => error ?? value));
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#renewal);
    [this.#redis, this.#subscriber, ...this.#blocked].forEach(redis => redis?.disconnect());
  }

  async #run(args) {
    if (!blocks(args)) return this.#redis.call(...args);
    const own = this.#connect(this.#cachedToken);
    this.#blocked.add(own);
    try {
      return await own.call(...args);
    } finally {
      this.#blocked.delete(own);
      own.disconnect();
    }
  }

  async #updateToken() {
    this.#cachedToken = await this.#credential.getToken(this.#request.scopes);
    const margin = LATEST_RENEWAL_MS + Math.floor(Math.random() * (EARLIEST_RENEWAL_MS - LATEST_RENEWAL_MS + 1));
    this.#renewal = setTimeout(() => this.#renew(), this.#cachedToken.expiresOnTimestamp - margin - Date.now());
    await Promise.all(this.#renewable().map(redis => redis.auth(this.#username(this.#accessToken), this.#cachedToken.token)));
  }

  // The timer drops the promise: whatever rejects it ends the process. What is
  // printed only names the client for its timeline.
  async #renew() {
    try {
      await this.#updateToken();
    } catch (error) {
      console.error(`${this.#request.client}: nothing catches the failure of a renewal: ${error.constructor.name}: ${error.message}`);
      throw error;
    }
  }

  // On RESP2 the library's README lets a subscriber send nothing but what changes
  // its subscriptions, PING and QUIT.
  #renewable() {
    if (!this.#redis) return [];
    return this.#resp === 3 && this.#subscriber ? [this.#redis, this.#subscriber] : [this.#redis];
  }

  #connectAnew() {
    this.#accessToken = this.#cachedToken && { ...this.#cachedToken };
    return this.#connect(this.#accessToken);
  }

  #connect(accessToken) {
    const { cache, credential, username } = this.#request;
    return new this.#library.Redis({
      ...(accessToken
        ? { username: this.#username(accessToken), password: accessToken.token }
        : { ...(username && { username }), password: credential.access_key }),
      tls: { host: cache.host, port: cache.port, ca: cache.ca_pem },
      keepAlive: 0,
      ...(this.#options.resp && { protocol: this.#options.resp }),
      ...(this.#options.connect_timeout_ms && { connectTimeout: this.#options.connect_timeout_ms }),
      ...(this.#options.command_timeout_ms && { commandTimeout: this.#options.command_timeout_ms }),
    });
  }

  #username({ token }) {
    if (this.#request.username) return this.#request.username;
    return JSON.parse(Buffer.from(token.split('.')[1], 'base64').toString('utf8')).oid;
  }

  get #resp() {
    return this.#options.resp ?? this.#library.defaultResp;
  }
}

// The library gives a simple string and a bulk string alike.
function reply(value) {
  return typedReply(value, text => {
    if (typeof text === 'string') return { type: 'bulk', value: text };
    if (text instanceof Error) return { type: 'error', value: text.message };
    return undefined;
  });
}

/** A function that makes the protocol's error object of a thrown value; `ReplyError` is the library's. */
export function sampleErrorDescriber(ReplyError) {
  return errorDescriber(ReplyError, error => {
    if (/^((Aggregate)?Authentication(Required)?|CredentialUnavailable|Rest)Error$/.test(error.name)) return 'token';
    if (error.message === 'Command timed out' || error.code === 'ETIMEDOUT') return 'timeout';
    if (error.name === 'MaxRetriesPerRequestError' || error.name === 'AbortError') return 'network';
    if (error.message === 'Connection is closed.') return 'network';
    return undefined;
  });
}

// The sample has a ClientSecretCredential, and comments with those for a
// certificate and for managed identities in its place. That for workload
// identities is another one of the same package.
function azureCredential({ identity }, { kind, client_id: clientId, ...credential }, entra) {
  const options = entra && {
    authorityHost: entra.authority_host,
    disableInstanceDiscovery: true,
    tlsOptions: { ca: entra.ca_pem },
  };
  switch (kind) {
    case 'certificate':
      return new identity.ClientCertificateCredential(entra.tenant_id, clientId, { certificate: credential.certificate_pem }, options);
    case 'workload-identity':
      return new identity.WorkloadIdentityCredential({
        tenantId: entra.tenant_id,
        clientId,
        tokenFilePath: credential.token_file,
        ...options,
      });
    case 'managed-identity':
      return clientId ? new identity.ManagedIdentityCredential(clientId) : new identity.ManagedIdentityCredential();
    default:
      return new identity.ClientSecretCredential(entra.tenant_id, clientId, credential.client_secret, options);
  }
}
