// Driver for iovalkey, wired as Microsoft's sample for ioredis has it.

import { drive } from '../node-driver/driver.mjs'; // first: it keeps stdout for the protocol
import * as identity from '@azure/identity';
import { Redis, ReplyError } from 'iovalkey';
import { LIMITS, SampleApplication, sampleErrorDescriber } from '../node-driver/azure-sample.mjs';

const library = { Redis, defaultResp: 2, identity };

drive({
  name: 'iovalkey',
  home: import.meta.url,
  libraries: ['iovalkey', '@azure/identity'],
  capabilities: [
    'credential:client-secret',
    'credential:access-key',
    'credential:managed-identity',
    'credential:certificate',
    'credential:workload-identity',
    'credential:username',
    'resp2',
    'pubsub',
    'blocking',
    'tls:custom-ca',
    'transactions',
    'transactions:watch',
  ],
  limits: LIMITS,
  open: (request, emit) => new SampleApplication(library, request, emit),
  describeError: sampleErrorDescriber(ReplyError),
});
