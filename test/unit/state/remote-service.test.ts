/** What a home keeps of a service over the network. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openState, updateState, type PendingActivation } from '../../../src/core/state/index.ts';

const SERVICE = {
  url: 'https://sgw.example:8443',
  urlCa: null,
  serviceId: 'store-0123456789abcdef',
  gatewayUrl: 'https://sgw.example:8444',
  gatewayCa: '',
};
const PENDING: PendingActivation = {
  step: 'begun',
  publicKey: 'A'.repeat(43),
  metadata: {},
  name: 'lab',
  mode: 'cached',
  accountId: '000000000000',
  region: 'local',
  store: 'sgw-service://sgw.example:8444',
  storeId: SERVICE.serviceId,
  gatewayId: null,
  activationId: null,
  activationKey: null,
  expiresAt: null,
  credential: null,
};

it('an activation at a service is kept as it is, and one whose service is none is not written', async () => {
  const home = await mkdtemp(join(tmpdir(), 'sgw-state-'));
  try {
    const activation = { ...PENDING, service: SERVICE };
    await updateState(home, (state) => (state.activation = activation));
    expect((await openState(home)).activation).toEqual(activation);
    const bad = [{ url: '' }, { urlCa: 3 }, { serviceId: undefined }, { gatewayUrl: null }, { gatewayCa: undefined }];
    for (const change of bad)
      await expect(
        updateState(home, (state) => {
          Object.assign(state.activation ?? {}, { service: { ...SERVICE, ...change } });
        }),
      ).rejects.toMatchObject({ message: expect.stringContaining('activation.service') as string });
    expect((await openState(home)).activation).toEqual(activation);
  } finally {
    await rm(home, { recursive: true });
  }
});
