import { createHash, X509Certificate } from 'node:crypto';

/** A certificate and its key in PEM, as MSAL takes them. */
export function msalCertificate(pem) {
  return {
    thumbprintSha256: createHash('sha256').update(new X509Certificate(pem).raw).digest('hex'),
    privateKey: /-----BEGIN PRIVATE KEY-----[^]*?-----END PRIVATE KEY-----/.exec(pem)[0],
  };
}
