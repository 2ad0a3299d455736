// What MSAL is asked, for each kind of credential.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { msalCertificate } from '../node-driver/certificate.mjs';
import { tokenSource } from './tokens.mjs';

const entra = { authority: 'https://127.0.0.1:2/t' };
const known = { clientId: 'i', authority: entra.authority, knownAuthorities: ['127.0.0.1:2'] };

// Asks twice, and returns what the two application objects were made with, and what they were asked.
async function asked(credential) {
  const made = [];
  class Application {
    constructor(configuration) {
      made.push({ configuration });
    }

    async acquireTokenByClientCredential(request) {
      made.at(-1).request = request;
      return 'confidential';
    }

    async acquireToken(request) {
      made.at(-1).request = request;
      return 'managed';
    }
  }
  const msal = { ConfidentialClientApplication: Application, ManagedIdentityApplication: Application };
  const ask = tokenSource(msal, { credential, ...(credential.kind !== 'managed-identity' && { entra }), scopes: ['r/.default'] });
  const answer = await ask();
  assert.equal(await ask(), answer);
  assert.equal(made.length, 2, 'one that is kept gives out the old token');
  assert.deepEqual(made[0].request, made[1].request);
  return { ...made[0], answer };
}

test('a secret', async () => {
  assert.deepEqual(await asked({ kind: 'client-secret', client_id: 'i', client_secret: 's' }), {
    configuration: { auth: { ...known, clientSecret: 's' } }, request: { scopes: ['r/.default'] }, answer: 'confidential',
  });
});

test('a certificate', async () => {
  const pem = `${rootCertificates[0]}\n-----BEGIN PRIVATE KEY-----\nkey\n-----END PRIVATE KEY-----\n`;
  const { configuration } = await asked({ kind: 'certificate', client_id: 'i', certificate_pem: pem });
  assert.deepEqual(configuration.auth, { ...known, clientCertificate: msalCertificate(pem) });
});

test('the token of another issuer, as the file has it when it is needed', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'entracache-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'token');
  const { configuration } = await asked({ kind: 'workload-identity', client_id: 'i', token_file: file });
  const { clientAssertion, ...rest } = configuration.auth;
  assert.deepEqual(rest, known);
  for (const token of ['first', 'second']) {
    writeFileSync(file, token);
    assert.equal(await clientAssertion(), token);
  }
});

test('the machine', async () => {
  const request = { resource: 'r/.default', forceRefresh: true };
  const identities = [[undefined, undefined], ['i', { managedIdentityIdParams: { userAssignedClientId: 'i' } }]];
  for (const [id, configuration] of identities) {
    assert.deepEqual(await asked({ kind: 'managed-identity', client_id: id }), { configuration, request, answer: 'managed' });
  }
});

test('what it does not know it refuses', () => {
  assert.throws(() => tokenSource({}, { credential: { kind: 'smile' }, scopes: [] }), { kind: 'unsupported' });
  assert.throws(() => tokenSource({}, { scopes: [] }), { kind: 'unsupported' });
});
