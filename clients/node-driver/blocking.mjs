// An application knows which of its commands block. A client of these libraries
// is a single connection, and such a command needs another one.

const BLOCKING = new Set([
  'BLPOP', 'BRPOP', 'BRPOPLPUSH', 'BLMOVE', 'BLMPOP', 'BZPOPMIN', 'BZPOPMAX', 'BZMPOP', 'WAIT', 'WAITAOF',
]);

/** Tells whether the server may hold back the answer to the command. */
export function blocks([name = '', ...rest]) {
  const command = name.toUpperCase();
  return BLOCKING.has(command)
    || (/^XREAD(GROUP)?$/.test(command) && rest.some(arg => arg.toUpperCase() === 'BLOCK'));
}
