import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { msalCertificate } from './certificate.mjs';

test('MSAL gets the certificate\'s thumbprint and the key, wherever it stands', () => {
  const privateKey = '-----BEGIN PRIVATE KEY-----\na\nkey\n-----END PRIVATE KEY-----';
  const [certificate] = rootCertificates;
  const thumbprintSha256 = new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();
  for (const parts of [[certificate, privateKey], [privateKey, certificate]]) {
    assert.deepEqual(msalCertificate(`${parts.join('\n')}\n`), { thumbprintSha256, privateKey });
  }
});
