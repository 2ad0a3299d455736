// Driver for Valkey GLIDE, which is told a new password by its application.

import { drive } from '../node-driver/driver.mjs'; // first: it keeps stdout for the protocol
import { ConfidentialClientApplication } from '@azure/msal-node';
import { GlideClient, GlideClientConfiguration, GlideClusterClient, Logger, ProtocolVersion } from '@valkey/valkey-glide';
import { Application } from './application.mjs';
import { describeError } from './values.mjs';

// The core of the library, which is native, would write its log to the real stdout.
Logger.setLoggerConfig('off');

const library = { ConfidentialClientApplication, GlideClient, GlideClientConfiguration, GlideClusterClient, ProtocolVersion };

drive({
  name: 'valkey-glide',
  home: import.meta.url,
  libraries: ['@valkey/valkey-glide', '@azure/msal-node'],
  capabilities: [
    'credential:client-secret',
    'credential:access-key',
    'credential:username',
    'resp2',
    'resp3',
    'pubsub',
    'blocking',
    'events',
    'tls:custom-ca',
    'cluster',
  ],
  open: (request, emit) => new Application(library, request, emit),
  describeError,
});
