// Driver for Valkey GLIDE, which is told a new password by its application.

import { drive } from '../node-driver/driver.mjs'; // first: it keeps stdout for the protocol
import { ConfidentialClientApplication, ManagedIdentityApplication } from '@azure/msal-node';
import {
  Batch, ClusterBatch, GlideClient, GlideClientConfiguration, GlideClusterClient, Logger, ProtocolVersion,
} from '@valkey/valkey-glide';
import { Application } from './application.mjs';
import { describeError } from './values.mjs';

// The core of the library, which is native, would write its log to the real stdout.
Logger.setLoggerConfig('off');

const library = {
  ConfidentialClientApplication,
  ManagedIdentityApplication,
  Batch,
  ClusterBatch,
  GlideClient,
  GlideClientConfiguration,
  GlideClusterClient,
  ProtocolVersion,
};

drive({
  name: 'valkey-glide',
  home: import.meta.url,
  libraries: ['@valkey/valkey-glide', '@azure/msal-node'],
  capabilities: [
    'credential:client-secret',
    'credential:access-key',
    'credential:managed-identity',
    'credential:certificate',
    'credential:workload-identity',
    'credential:username',
    'resp2',
    'resp3',
    'pubsub',
    'blocking',
    'events',
    'tls:custom-ca',
    'cluster',
    'transactions',
    'transactions:watch',
  ],
  open: (request, emit) => new Application(library, request, emit),
  describeError,
});
