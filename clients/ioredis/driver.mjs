// Driver for ioredis, wired as Microsoft's sample for ioredis has it.

import { drive } from '../node-driver/driver.mjs'; // first: it keeps stdout for the protocol
import * as identity from '@azure/identity';
import { Redis, ReplyError } from 'ioredis';
import { LIMITS, SampleApplication, sampleErrorDescriber } from '../node-driver/azure-sample.mjs';

const library = { Redis, defaultResp: 3, identity };

drive({
  name: 'ioredis',
  home: import.meta.url,
  libraries: ['ioredis', '@azure/identity'],
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
    'tls:custom-ca',
    'transactions',
    'transactions:watch',
  ],
  limits: LIMITS,
  open: (request, emit) => new SampleApplication(library, request, emit),
  describeError: sampleErrorDescriber(ReplyError),
});
