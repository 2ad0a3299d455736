// Driver for node-redis with @redis/entraid. It wires the client up as the
// library's documentation does and reports what an application would see.

import { drive } from '../node-driver/driver.mjs'; // first: it keeps stdout for the protocol
import { WorkloadIdentityCredential } from '@azure/identity';
import { ConfidentialClientApplication } from '@azure/msal-node';
import {
  CredentialsError,
  TokenManager,
  UnableToObtainNewCredentialsError,
} from '@redis/client/dist/lib/authx/index.js';
import {
  EntraidCredentialsProvider,
  EntraIdCredentialsProviderFactory,
  MSALIdentityProvider,
  OID_CREDENTIALS_MAPPER,
} from '@redis/entraid';
import { createClient, createCluster, DEFAULT_RESP, WatchError } from 'redis';
import { blocks } from '../node-driver/blocking.mjs';
import { msalCertificate } from '../node-driver/certificate.mjs';
import { Refusal } from '../node-driver/values.mjs';
import { describeError, nodeRedisReply, TYPE_MAPPING } from './values.mjs';

const DEFAULT_CONNECT_TIMEOUT_MS = 5000; // the library's own, as the next
const DEFAULT_ACQUIRE_TIMEOUT_MS = 3000;

class Session {
  #name;
  #options;
  #client;
  #clustered;
  #pool; // promise, made at the first blocking command
  #subscriber; // promise, made at the first subscription under RESP2
  #opened = []; // everything that close() has to end
  #emit;
  #provider; // of credentials
  #transaction; // { exec, done }: the one that was begun

  constructor(request, emit, shared) {
    this.#emit = emit;
    this.#provider = shared?.provider;
    this.#name = request.client;
    this.#options = request.options ?? {};
    const { cache } = request;
    const { host, port } = cache;
    const options = {
      ...this.#credentials(request),
      ...(this.#options.resp && { RESP: this.#options.resp }),
      socket: { tls: true, ca: cache.ca_pem, connectTimeout: this.#connectTimeout },
      ...(this.#options.command_timeout_ms && { commandOptions: { timeout: this.#options.command_timeout_ms } }),
    };
    this.#clustered = cache.cluster === true;
    if (this.#clustered) {
      // docs/clustering.md: what holds for the connections to all nodes goes into defaults; the protocol and the options of
      // commands are the cluster's own.
      const { RESP, commandOptions, ...defaults } = options;
      this.#client = createCluster({
        rootNodes: [{ socket: { host, port } }],
        // The nodes are named by IP address, for which the service has no certificate.
        nodeAddressMap: address => ({ host, port: Number(address.slice(address.lastIndexOf(':') + 1)) }),
        defaults,
        ...(RESP && { RESP }),
        ...(commandOptions && { commandOptions }),
      });
    } else {
      this.#client = createClient({ ...options, socket: { ...options.socket, host, port } });
    }
  }

  open() {
    return this.#connect(this.#client);
  }

  async command(args) {
    if (this.#clustered) { // the caller names the key: it decides which node is asked
      return nodeRedisReply(await this.#client.withTypeMapping(TYPE_MAPPING).sendCommand(args[1], false, args));
    }
    // docs/pool.md: a command that blocks needs a connection of its own.
    const target = blocks(args) ? await (this.#pool ??= this.#connectPool()) : this.#client;
    return nodeRedisReply(await target.withTypeMapping(TYPE_MAPPING).sendCommand(args));
  }

  async subscribe(channels) {
    // docs/pub-sub.md: a RESP2 subscription takes its connection over, so that
    // it gets a duplicate of the client; RESP3 has no such need, nor has a
    // cluster, which keeps a connection for subscriptions.
    const resp = this.#options.resp ?? DEFAULT_RESP;
    const subscriber = resp === 2 && !this.#clustered ? await (this.#subscriber ??= this.#connectSubscriber()) : this.#client;
    await subscriber.subscribe(channels, (value, channel) => {
      this.#emit({ event: 'message', channel, value });
    });
  }

  // docs/transactions.md: exec() sends MULTI, the commands and itself together.
  // What is watched wants a connection of its own, from a pool, in a function
  // of the application's; that waits in there for the harness to say exec.
  async begin(commands, watch) {
    let exec;
    const asked = new Promise(resolve => { exec = resolve; });
    const run = async client => {
      const multi = client.withTypeMapping(TYPE_MAPPING).multi();
      commands.forEach(args => multi.addCommand(args));
      await asked;
      return multi.exec();
    };
    let done;
    if (watch) {
      const pool = await (this.#pool ??= this.#connectPool());
      await new Promise((begun, failed) => {
        done = pool.execute(async client => {
          await client.watch(watch);
          begun();
          return run(client);
        });
        done.catch(failed);
      });
    } else {
      done = run(this.#client);
    }
    this.#transaction = { exec, done };
  }

  async exec() {
    if (!this.#transaction) throw new Refusal('config', 'no transaction was begun');
    const { exec, done } = this.#transaction;
    this.#transaction = undefined;
    exec();
    try {
      return nodeRedisReply(await done);
    } catch (error) {
      if (error instanceof WatchError) return { type: 'null', value: null };
      throw error;
    }
  }

  get provider() {
    return this.#provider;
  }

  close() {
    // destroy() also ends the client's subscription to the credentials provider.
    this.#opened.forEach(opened => opened.destroy());
  }

  get #connectTimeout() {
    return this.#options.connect_timeout_ms ?? DEFAULT_CONNECT_TIMEOUT_MS;
  }

  #credentials({ credential, username, entra, scopes }) {
    switch (credential?.kind) {
      case 'access-key':
        return { ...(username && { username }), password: credential.access_key };
      case 'client-secret':
      case 'certificate':
        this.#provider ??= this.#servicePrincipal(credential, username, entra, scopes);
        return { credentialsProvider: this.#provider };
      case 'managed-identity':
        this.#provider ??= this.#managedIdentity(credential, username);
        return { credentialsProvider: this.#provider };
      case 'workload-identity':
        this.#provider ??= this.#workloadIdentity(credential, username, entra, scopes);
        return { credentialsProvider: this.#provider };
      default:
        throw new Refusal('unsupported', `this driver has no credential kind ${JSON.stringify(credential?.kind)}`);
    }
  }

  // What EntraIdCredentialsProviderFactory.createForClientCredentials() and
  // createForClientCredentialsWithCertificate() build, and knownAuthorities: the
  // factory has no way to set it, and without it MSAL asks
  // login.microsoftonline.com whether the authority is genuine.
  #servicePrincipal({ client_id, client_secret, certificate_pem }, username, { authority }, scopes) {
    const application = new ConfidentialClientApplication({
      auth: {
        clientId: client_id,
        ...(certificate_pem ? { clientCertificate: msalCertificate(certificate_pem) } : { clientSecret: client_secret }),
        authority,
        knownAuthorities: [new URL(authority).host],
      },
    });
    const identityProvider = new MSALIdentityProvider(
      () => application.acquireTokenByClientCredential({ skipCache: true, scopes }),
    );
    const { tokenManagerConfig, ...options } = this.#providerOptions(username);
    return new EntraidCredentialsProvider(new TokenManager(identityProvider, tokenManagerConfig), identityProvider, options);
  }

  #managedIdentity({ client_id }, username) {
    const params = { ...this.#providerOptions(username), clientId: client_id };
    return client_id
      ? EntraIdCredentialsProviderFactory.createForUserAssignedManagedIdentity({ ...params, userAssignedClientId: client_id })
      : EntraIdCredentialsProviderFactory.createForSystemAssignedManagedIdentity(params);
  }

  // The README has a DefaultAzureCredential here, or any other credential of
  // @azure/identity: this is the one of those in it that workload identities use.
  #workloadIdentity({ client_id, token_file }, username, { authority_host, tenant_id }, scopes) {
    const credential = new WorkloadIdentityCredential({
      clientId: client_id,
      tenantId: tenant_id,
      tokenFilePath: token_file,
      authorityHost: authority_host,
      disableInstanceDiscovery: true,
    });
    return EntraIdCredentialsProviderFactory.createForDefaultAzureCredential({ ...this.#providerOptions(username), credential, scopes });
  }

  // tokenManagerConfig is that of the examples in the package's README.
  #providerOptions(username) {
    return {
      tokenManagerConfig: { expirationRefreshRatio: 0.8 },
      credentialsMapper: username
        ? token => ({ username, password: token.accessToken })
        : OID_CREDENTIALS_MAPPER,
      onReAuthenticationError: error => this.#tokenEvent(error),
      onRetryableError: message => this.#emit({
        event: 'token',
        what: 'refresh-retried',
        error: { kind: 'token', message },
      }),
    };
  }

  async #connectPool() {
    const { pool_size: size, clock_rate: rate } = this.#options;
    try {
      return await this.#connect(this.#client.createPool({
        ...(size && { maximum: size }),
        // The time in which connections are made is real, also where this process's clock is faster.
        ...(rate && { acquireTimeout: DEFAULT_ACQUIRE_TIMEOUT_MS * rate }),
      }));
    } catch (error) {
      this.#pool = undefined; // the next blocking command may try again
      throw error;
    }
  }

  async #connectSubscriber() {
    try {
      return await this.#connect(this.#client.duplicate());
    } catch (error) {
      this.#subscriber = undefined;
      throw error;
    }
  }

  // connect() stays pending for as long as the library goes on trying, whatever
  // the reason; meanwhile it tells the application by "error" events. So an
  // application that waits no longer has the last of those to go by.
  async #connect(client) {
    let connected = false;
    let lastError;
    client.on('error', error => {
      lastError = error;
      console.error(`${this.#name}: error event: ${error.constructor.name}: ${error.message}`);
      if (connected) this.#tokenEvent(error);
    });
    this.#opened.push(client);
    const timeout = this.#connectTimeout;
    let timer;
    const patience = new Promise((_, reject) => {
      timer = setTimeout(() => reject(lastError
        ?? new Refusal('timeout', `connect() is pending after ${timeout} ms, without an error event`)), timeout);
    });
    try {
      await Promise.race([client.connect(), patience]);
      connected = true;
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #tokenEvent(error) {
    const described = describeError(error);
    if (error instanceof UnableToObtainNewCredentialsError || described.kind === 'token') {
      this.#emit({ event: 'token', what: 'refresh-failed', error: described });
    } else if (error instanceof CredentialsError || described.kind === 'auth') {
      this.#emit({ event: 'token', what: 'reauth-failed', error: described });
    }
  }
}

drive({
  name: 'node-redis',
  home: import.meta.url,
  libraries: ['redis', '@redis/client', '@redis/entraid', '@azure/msal-node'],
  capabilities: [
    'credential:client-secret',
    'credential:access-key',
    'credential:managed-identity',
    'credential:certificate',
    'credential:workload-identity',
    'credential:username',
    'resp2',
    'resp3',
    'pubsub',
    'pool',
    'blocking',
    'events',
    'tls:custom-ca',
    'cluster',
    'transactions',
    'transactions:watch',
    'shared-provider',
  ],
  open: (request, emit, shared) => new Session(request, emit, shared),
  describeError,
});
