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
import { errorDescriber, typedReply } from '../node-driver/values.mjs';

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
export function nodeRedisReply(value) {
  return typedReply(value, special);
}

function special(value) {
  if (typeof value === 'string') return { type: 'simple', value };
  if (value instanceof ErrorReply) return { type: 'error', value: value.message };
  if (value instanceof VerbatimString) return { type: 'verbatim', value: value.toString() };
  if (Buffer.isBuffer(value)) return { type: 'bulk', value: value.toString() };
  if (value instanceof Set) return { type: 'set', value: [...value].map(keyReply) };
  if (value instanceof Map) {
    return { type: 'map', value: [...value].map(([key, item]) => [keyReply(key), nodeRedisReply(item)]) };
  }
  return undefined;
}

// The decoder makes map keys and set members strings whatever the mapping says.
function keyReply(key) {
  return typeof key === 'string' ? { type: 'bulk', value: key } : nodeRedisReply(key);
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

/** A thrown value as the protocol's error object. */
export const describeError = errorDescriber(ErrorReply, error => KINDS.find(([type]) => error instanceof type)?.[1]);
