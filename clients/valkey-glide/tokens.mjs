// How an application asks MSAL for a token.

import { readFile } from 'node:fs/promises';
import { msalCertificate } from '../node-driver/certificate.mjs';
import { Refusal } from '../node-driver/values.mjs';

/**
 * A function that asks for a new token, and resolves to what MSAL answers.
 *
 * @param msal { ConfidentialClientApplication, ManagedIdentityApplication }
 * @param request the protocol's request to open a client
 */
export function tokenSource(msal, { credential, entra, scopes }) {
  // An application object of MSAL's is not kept: it would give out the old token until five minutes before its end, and for a minute
  // after an error of the issuer's that error. For the same reason what MSAL keeps of a managed identity, for all objects, is passed by.
  const confidential = auth => () => new msal.ConfidentialClientApplication({
    auth: {
      clientId: credential.client_id,
      authority: entra.authority,
      knownAuthorities: [new URL(entra.authority).host], // without it MSAL asks login.microsoftonline.com about the authority
      ...auth,
    },
  }).acquireTokenByClientCredential({ scopes });
  switch (credential?.kind) {
    case 'client-secret':
      return confidential({ clientSecret: credential.client_secret });
    case 'certificate':
      return confidential({ clientCertificate: msalCertificate(credential.certificate_pem) });
    case 'workload-identity':
      return confidential({ clientAssertion: () => readFile(credential.token_file, 'utf8') });
    case 'managed-identity':
      return () => new msal.ManagedIdentityApplication(credential.client_id && {
        managedIdentityIdParams: { userAssignedClientId: credential.client_id },
      }).acquireToken({ resource: scopes[0], forceRefresh: true });
    default:
      throw new Refusal('unsupported', `this driver has no credential kind ${JSON.stringify(credential?.kind)}`);
  }
}
