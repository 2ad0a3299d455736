// Signs in with @azure/identity or @azure/msal-node: one JSON object per line in, one out, each answered when it is done.

import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import {
  ClientCertificateCredential,
  ClientSecretCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";
import { ConfidentialClientApplication, ManagedIdentityApplication } from "@azure/msal-node";

const scope = "https://redis.azure.com/.default";
const resource = "https://redis.azure.com";
// @azure/identity is patient. How often it tries is all that is changed.
const retryOptions = { maxRetries: 2 };

function azureIdentity(ask) {
  const { tenant_id: tenantId, client_id: clientId } = ask;
  // Without an authority the library's own is used, as in an application.
  const options = { retryOptions, ...(ask.authority && { authorityHost: ask.authority, disableInstanceDiscovery: true }) };
  const make = {
    "client-secret": () => new ClientSecretCredential(tenantId, clientId, ask.secret, options),
    certificate: () => new ClientCertificateCredential(tenantId, clientId, { certificatePath: ask.certificate_file }, options),
    "workload-identity": () =>
      new WorkloadIdentityCredential({ tenantId, clientId, tokenFilePath: ask.assertion_file, ...options }),
    "managed-identity": () => new ManagedIdentityCredential({ clientId, retryOptions }),
  };
  const credential = make[ask.credential]();
  return async () => (await credential.getToken(scope)).token;
}

function msalNode(ask) {
  if (ask.credential === "managed-identity") {
    const identity = new ManagedIdentityApplication({ managedIdentityIdParams: { userAssignedClientId: ask.client_id } });
    return async () => (await identity.acquireToken({ resource })).accessToken;
  }
  const credentials = {
    "client-secret": () => ({ clientSecret: ask.secret }),
    certificate: () => {
      const pem = readFileSync(ask.certificate_file, "utf8");
      const thumbprintSha256 = createHash("sha256").update(new X509Certificate(pem).raw).digest("hex");
      const [privateKey] = pem.match(/-----BEGIN PRIVATE KEY-----[^]*?-----END PRIVATE KEY-----/);
      return { clientCertificate: { thumbprintSha256, privateKey } };
    },
    "workload-identity": () => ({ clientAssertion: async () => readFileSync(ask.assertion_file, "utf8") }),
  };
  const host = ask.authority || "https://login.microsoftonline.com";
  const client = new ConfidentialClientApplication({
    auth: {
      clientId: ask.client_id,
      authority: `${host}/${ask.tenant_id}`,
      ...(ask.authority && { knownAuthorities: [new URL(ask.authority).host] }),
      ...credentials[ask.credential](),
    },
  });
  return async () => (await client.acquireTokenByClientCredential({ scopes: [scope] })).accessToken;
}

// All that the caller can learn from an error: its own text and those of its causes.
function explain(error) {
  const text = [];
  for (let e = error; e; e = e.cause) text.push(`${e.name}: ${e.message}`);
  return text.join(" <- ");
}

const libraries = { "@azure/identity": azureIdentity, "@azure/msal-node": msalNode };
const clients = new Map();

async function answer(ask) {
  try {
    if (!clients.has(ask.session)) clients.set(ask.session, libraries[ask.library](ask));
    return { id: ask.id, ok: true, token: await clients.get(ask.session)() };
  } catch (error) {
    return { id: ask.id, ok: false, error: explain(error) };
  }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => console.log(JSON.stringify(await answer(JSON.parse(line)))));
lines.on("close", () => process.exit());
