// Translation of what Valkey GLIDE hands its user, replies and errors, into the protocol's words.

import { AuthError } from '@azure/msal-node';
import {
  CircuitBreakerError, ClosingError, ConfigurationError, ConnectionError, ExecAbortError, RequestError, TimeoutError,
} from '@valkey/valkey-glide';
import { errorDescriber, typedReply } from '../node-driver/values.mjs';

/** A reply as the protocol's {type, value}. The library does not tell a simple string from a bulk string, nor a set from an array. */
export function glideReply(value) {
  return typedReply(value, special);
}

function special(value) {
  if (typeof value === 'string') return { type: 'bulk', value };
  if (value instanceof RequestError) return { type: 'error', value: value.message };
  // The library makes a list of such pairs of a map.
  if (Array.isArray(value) && value.length > 0 && value.every(isPair)) {
    return { type: 'map', value: value.map(pair => [glideReply(pair.key), glideReply(pair.value)]) };
  }
  return undefined;
}

function isPair(item) {
  return item !== null && typeof item === 'object' && Object.keys(item).join() === 'key,value';
}

// The errors of a server that the core has a name for, and the word with which the server began them. Others keep their word.
const CODES = {
  ResponseError: 'ERR',
  BusyLoadingError: 'LOADING',
  NoScriptError: 'NOSCRIPT',
  Moved: 'MOVED',
  Ask: 'ASK',
  TryAgain: 'TRYAGAIN',
  ClusterDown: 'CLUSTERDOWN',
  CrossSlot: 'CROSSSLOT',
  MasterDown: 'MASTERDOWN',
  ReadOnly: 'READONLY',
  NotBusy: 'NOTBUSY',
  PermissionDenied: 'NOPERM',
};

// The library has no field for that word, only its message: "An error was signalled by the server: - ResponseError: unknown command …",
// or "WRONGPASS: invalid username-password pair".
function codeOf({ message }) {
  const [, known, own] = /^(?:An error was signalled by the server: - (\w+)|([A-Z]+)): /.exec(message) ?? [];
  return known ? CODES[known] : own;
}

const KINDS = [
  [AuthError, 'token'], // every error of MSAL
  [SyntaxError, 'token'], // the token is no JSON
  [TimeoutError, 'timeout'],
  [ConfigurationError, 'config'],
  [ConnectionError, 'network'],
  [CircuitBreakerError, 'network'],
  [ExecAbortError, 'redis'],
];

const describeOther = errorDescriber(ExecAbortError, error => {
  // How createClient fails, whatever the reason; what an open client fails with is a ConnectionError.
  if (error instanceof ClosingError) {
    if (/(WRONGPASS|NOAUTH)/.test(error.message)) return 'auth';
    return /timed out/.test(error.message) ? 'timeout' : 'network';
  }
  const known = KINDS.find(([type]) => error instanceof type);
  // What is left is what the core found wrong, such as that it has no connection to any node.
  return known?.[1] ?? (error instanceof RequestError ? 'network' : undefined);
});

/** A thrown value as the protocol's error object. */
export function describeError(error) {
  const code = error?.constructor === RequestError ? codeOf(error) : undefined;
  if (!code) return describeOther(error);
  // Azure is known to put "ERR " before the word that Redis starts with.
  const refused = /^(WRONGPASS|NOAUTH)\b/.test(error.message) || / ResponseError: (WRONGPASS|NOAUTH)\b/.test(error.message);
  return { kind: refused ? 'auth' : 'redis', message: error.message, code, exception: error.constructor.name };
}
