// The driver's side of the line protocol: one JSON object per line, requests on
// stdin, replies and events on stdout.
//
// This module has to be the first import of the program: imports are evaluated
// in order, and nothing a library prints may reach the protocol's stream.

const MAX_LINE_BYTES = 1 << 20;

const writeLine = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

/** Writes one reply or event; `sent` is called when the line has left. */
export function send(message, sent) {
  const line = JSON.stringify(message);
  const bytes = Buffer.byteLength(line);
  if (bytes <= MAX_LINE_BYTES) {
    writeLine(`${line}\n`, sent);
    return;
  }
  const problem = `the line has ${bytes} bytes, the protocol allows ${MAX_LINE_BYTES}`;
  console.error(`not sent: ${message.event ?? `reply ${message.id}`}: ${problem}`);
  if (message.id !== undefined) {
    send({ id: message.id, ok: false, error: { kind: 'unsupported', message: problem } }, sent);
  }
}

/**
 * Answers requests until `shutdown` or the end of stdin.
 *
 * @param operations a Map from `op` to a function of the request; what it
 *   resolves to is merged into the reply, what it throws goes through `describe`
 * @param describe turns a thrown value into the protocol's error object
 */
export function serve(operations, describe) {
  async function answer(line) {
    let request;
    try {
      request = JSON.parse(line);
    } catch {
      console.error(`ignored a line that is not JSON (${line.length} characters)`);
      return;
    }
    const { id, op } = request ?? {};
    if (!Number.isInteger(id)) {
      console.error('ignored a request without an integer "id"');
      return;
    }
    const operation = operations.get(op);
    if (!operation) {
      const message = `this driver has no operation ${JSON.stringify(op)}`;
      send({ id, ok: false, error: { kind: 'unsupported', message } });
      return;
    }
    let reply;
    try {
      reply = { id, ok: true, ...(await operation(request)) };
    } catch (error) {
      reply = { id, ok: false, error: describe(error) };
    }
    send(reply, op === 'shutdown' ? () => process.exit(0) : undefined);
  }

  // Split by hand: node:readline also breaks lines at U+2028, which JSON allows
  // inside a string.
  let rest = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', chunk => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    lines.filter(line => line.trim() !== '').forEach(answer);
  });
  process.stdin.on('end', () => process.exit(0));
}
