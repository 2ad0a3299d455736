// Translation of what node-redis hands its user, replies and errors, into the
// protocol's words.

import { AuthError } from '@azure/msal-node';
import {
  CredentialsError,
  IDPError,
  UnableToObtainNewCredentialsError,
} from '@redis/client/dist/lib/authx/index.js';
import {
  AbortError,
  ClientClosedError,
  ClientOfflineError,
  ConnectionTimeoutError,
  DisconnectsClientError,
  ErrorReply,
  RESP_TYPES,
  SocketClosedUnexpectedlyError,
  SocketTimeoutError,
  TimeoutError,
  VerbatimString,
} from 'redis';

/** An error that the driver itself reports, with its kind. */
export class Refusal extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/**
 * The type mapping under which a reply still tells what it was on the wire. A
 * double without a fraction stays a number and reads as an integer.
 */
export const TYPE_MAPPING = {
  [RESP_TYPES.BLOB_STRING]: Buffer,
  [RESP_TYPES.VERBATIM_STRING]: VerbatimString,
  [RESP_TYPES.MAP]: Map,
  [RESP_TYPES.SET]: Set,
};

/** A reply decoded under TYPE_MAPPING, as the protocol's {type, value}. */
export function typedReply(value) {
  if (value === null || value === undefined) return { type: 'null', value: null };
  if (value instanceof ErrorReply) return { type: 'error', value: value.message };
  if (value instanceof VerbatimString) return { type: 'verbatim', value: value.toString() };
  if (Buffer.isBuffer(value)) return { type: 'bulk', value: value.toString() };
  if (Array.isArray(value)) return { type: 'array', value: value.map(typedReply) };
  if (value instanceof Set) return { type: 'set', value: [...value].map(keyReply) };
  if (value instanceof Map) {
    return { type: 'map', value: [...value].map(([key, item]) => [keyReply(key), typedReply(item)]) };
  }
  switch (typeof value) {
    case 'string':
      return { type: 'simple', value };
    case 'boolean':
      return { type: 'boolean', value };
    case 'bigint': // the protocol has no big number
      return { type: 'bulk', value: value.toString() };
    case 'number':
      if (Number.isInteger(value)) return { type: 'integer', value };
      // JSON has no such numbers: in Redis' words.
      return { type: 'double', value: { Infinity: 'inf', '-Infinity': '-inf', NaN: 'nan' }[value] ?? value };
    default:
      throw new Refusal('internal', `a reply of JavaScript type ${typeof value} has no protocol type`);
  }
}

// The decoder makes map keys and set members strings whatever the mapping says.
function keyReply(key) {
  return typeof key === 'string' ? { type: 'bulk', value: key } : typedReply(key);
}

/** A thrown value as the protocol's error object. */
export function describeError(error) {
  if (error instanceof Refusal) return { kind: error.kind, message: error.message };
  if (!(error instanceof Error)) return { kind: 'internal', message: String(error) };
  const code = error instanceof ErrorReply ? /^[A-Z][A-Z0-9]*(?= |$)/.exec(error.message)?.[0] : undefined;
  return {
    kind: kindOf(error),
    // Some of the library's errors have no text at all.
    message: error.message || error.constructor.name,
    ...(code && { code }),
    exception: error.constructor.name,
  };
}

const KINDS = [
  [CredentialsError, 'auth'],
  [UnableToObtainNewCredentialsError, 'token'],
  [IDPError, 'token'],
  [AuthError, 'token'], // every error of MSAL
  [SyntaxError, 'token'], // OID_CREDENTIALS_MAPPER parses the token as JSON
  [ConnectionTimeoutError, 'timeout'],
  [SocketTimeoutError, 'timeout'],
  [TimeoutError, 'timeout'],
  [ClientClosedError, 'closed'],
  [DisconnectsClientError, 'closed'],
  [AbortError, 'closed'],
  [ClientOfflineError, 'network'],
  [SocketClosedUnexpectedlyError, 'network'],
];

function kindOf(error) {
  if (error instanceof ErrorReply) {
    // Azure is known to put "ERR " before the word that Redis starts with.
    return /^(ERR )?(WRONGPASS|NOAUTH)\b/.test(error.message) ? 'auth' : 'redis';
  }
  const known = KINDS.find(([type]) => error instanceof type);
  if (known) return known[1];
  // What is left with a code comes from Node: argument checks, sockets, TLS.
  if (/^ERR_(?!TLS|SSL)/.test(error.code ?? '')) return 'config';
  return error.code ? 'network' : 'internal';
}
