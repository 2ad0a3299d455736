// Translation of what a library hands its user, replies and errors, into the
// protocol's words: as much of it as the libraries agree on.

/** An error that the driver itself reports, with its kind. */
export class Refusal extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/**
 * A reply as the protocol's {type, value}.
 *
 * @param special is asked first, for it and for what is inside it: returns the
 *   {type, value} of what the library has its own types for, or undefined
 */
export function typedReply(value, special) {
  const own = special(value);
  if (own) return own;
  if (value === null || value === undefined) return { type: 'null', value: null };
  if (Array.isArray(value)) return { type: 'array', value: value.map(item => typedReply(item, special)) };
  switch (typeof value) {
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

/**
 * A function that makes the protocol's error object of a thrown value.
 *
 * @param ServerError the library's class for what the server answered
 * @param libraryKind the kind of an error of the library's, or undefined
 */
export function errorDescriber(ServerError, libraryKind) {
  function kindOf(error) {
    if (error instanceof ServerError) {
      // Azure is known to put "ERR " before the word that Redis starts with.
      return /^(ERR )?(WRONGPASS|NOAUTH)\b/.test(error.message) ? 'auth' : 'redis';
    }
    const known = libraryKind(error);
    if (known) return known;
    // What is left with a code comes from Node: argument checks, sockets, TLS.
    if (/^ERR_(?!TLS|SSL)/.test(error.code ?? '')) return 'config';
    return error.code ? 'network' : 'internal';
  }

  return error => {
    if (error instanceof Refusal) return { kind: error.kind, message: error.message };
    if (!(error instanceof Error)) return { kind: 'internal', message: String(error) };
    const code = error instanceof ServerError ? /^[A-Z][A-Z0-9]*(?= |$)/.exec(error.message)?.[0] : undefined;
    return {
      kind: kindOf(error),
      // Some errors have no text at all.
      message: error.message || error.constructor.name,
      ...(code && { code }),
      exception: error.constructor.name,
    };
  };
}
