import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { ServiceClient } from '../../../src/core/serviceclient/index.ts';
import { takeConfiguration } from '../../../src/core/gateway/provided.ts';
import { openState } from '../../../src/core/state/index.ts';
import type {
  ConfigurationChanges,
  ConfigurationReceipt,
  GatewayConfiguration,
} from '../../../src/core/protocol/index.ts';
import { DEFAULT_PROVIDED_SERVING } from '../../../src/core/protocol/index.ts';
import type { ConfigurationOutcome } from '../../../src/core/service/configuration/configurations.ts';
import { LiveService } from '../../support/live-service.ts';
import { activateAt } from './network-rig.ts';
import { GatewayRig } from './rig.ts';

const MIB = 1 << 20;
const CALL = { signal: new AbortController().signal, lockTimeoutMs: 10_000 };

let live: LiveService;
let rig: GatewayRig;
let gatewayId: string;
let isAway: boolean;

const home = (): string => join(rig.directory, 'home');

beforeEach(async () => {
  live = await LiveService.start();
  isAway = false;
  rig = await GatewayRig.fresh(live.objects, {
    reachService: async (place, identity) => {
      const client = new ServiceClient({ place, identity });
      return Promise.resolve({
        request: async (name, input, how) => {
          if (isAway) throw new SgwError('denied', 'service-untrusted', 'somebody else answers there');
          return await client.request(name, input, how);
        },
        [Symbol.asyncDispose]: async () => client.close(),
      });
    },
  });
  gatewayId = (await activateAt(rig, live, await live.account('anna'))).gatewayId;
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
  await live[Symbol.asyncDispose]();
});

/** As the held connection would bring it. */
const take = async (
  change: Partial<GatewayConfiguration>,
  reload: () => Promise<readonly string[]> = async () => Promise.resolve([]),
): Promise<ConfigurationReceipt> => {
  const wanted = (await live.service.configurations.standing(gatewayId, CALL.signal)).configuration;
  return await takeConfiguration({ parts: { home: home() }, reload }, { ...wanted, ...change }, CALL);
};

const serving = (change: object): Pick<GatewayConfiguration, 'serving'> => ({
  serving: { ...DEFAULT_PROVIDED_SERVING, ...change },
});

/** The provider says what he wants; the gateway takes it at its next connection. */
const provide = async (changes: ConfigurationChanges): Promise<ConfigurationOutcome> =>
  await live.service.configurations.change(gatewayId, { changes, answer: null, expectedVersion: null }, CALL.signal);

const state = async () => {
  const { gateway } = await openState(home());
  if (gateway === null) throw new Error('the home is not activated');
  return gateway;
};

describe('a configuration of the provider', () => {
  it('is in force from activation on, with its version', async () => {
    expect(await state()).toMatchObject({ name: 'named', region: 'lab-1', provided: { version: 1 } });
    expect(await rig.call('configure', {})).toMatchObject({
      version: 1,
      provider: { service: live.url, version: 1, request: null, answer: null },
      requested: [],
    });
  });

  it('that comes later is put in force, and applied where a daemon runs', async () => {
    let reloads = 0;
    const receipt = await take({ version: 2, name: 'berlin', ...serving({ bufferBytes: 128 * MIB }) }, async () => {
      reloads += 1;
      return Promise.resolve([]);
    });
    expect(receipt).toEqual({ version: 2, appliedVersion: 2, failure: null });
    expect(reloads).toBe(1);
    expect(await state()).toMatchObject({
      name: 'berlin',
      serving: { bufferBytes: 128 * MIB },
      provided: { version: 2 },
    });
  });

  it('that is older than the one in force changes nothing', async () => {
    await take({ version: 5, name: 'new' });
    expect(await take({ version: 4, name: 'old' })).toEqual({ version: 4, appliedVersion: 5, failure: null });
    expect(await take({ version: 5, name: 'other' })).toEqual({ version: 5, appliedVersion: 5, failure: null });
    expect(await state()).toMatchObject({ name: 'new', provided: { version: 5 } });
  });

  it('that can not be served is in force in no part, and the settings of the local operator stay', async () => {
    await rig.call('configure', { listen: ['tcp:127.0.0.1:0'] });
    const failures = [new Error('no port is free')];
    const receipt = await take({ version: 2, name: 'berlin', ...serving({ defaultExport: 'db' }) }, async () => {
      const failure = failures.shift();
      return failure === undefined ? Promise.resolve([]) : Promise.reject(failure);
    });
    expect(receipt).toMatchObject({ version: 2, appliedVersion: 1, failure: { message: 'no port is free' } });
    expect(failures).toEqual([]);
    expect(await state()).toMatchObject({
      name: 'named',
      serving: { defaultExport: null, tcp: ['127.0.0.1:0'] },
      provided: { version: 1 },
    });
  });

  it.each([
    ['no-room', serving({ bufferBytes: Number.MAX_SAFE_INTEGER })],
    ['mode-fixed', { mode: 'shadowing' as const }],
    ['bad-setting', serving({ cacheBytes: 'much' })],
    ['bad-setting', serving({ listExports: null })],
    ['bad-setting', serving({ sealIntervalMs: undefined })],
  ])('fails with %s where it can not be', async (code, change) => {
    expect(await take({ version: 2, ...change })).toMatchObject({ appliedVersion: 1, failure: { code } });
    expect(await state()).toMatchObject({ provided: { version: 1 } });
  });

  it('of a newer service is taken as far as it is known', async () => {
    const receipt = await take({
      version: 2,
      ...serving({ bufferBytes: 64 * MIB, colour: 'red', tcp: ['0.0.0.0:1'] }),
    });
    expect(receipt.failure).toBeNull();
    expect((await state()).serving).toMatchObject({ bufferBytes: 64 * MIB, tcp: [] });
    expect((await state()).serving).not.toHaveProperty('colour');
  });

  it('is one at a time, whichever comes first', async () => {
    await Promise.all([3, 5, 2, 4].map(async (version) => take({ version, name: `v${String(version)}` })));
    expect(await state()).toMatchObject({ name: 'v5', provided: { version: 5 } });
  });

  it('is not for a gateway that has its own operator', async () => {
    const own = await GatewayRig.start();
    try {
      const wanted = (await live.service.configurations.standing(gatewayId, CALL.signal)).configuration;
      const taking = { parts: { home: join(own.directory, 'home') }, reload: async () => Promise.resolve([]) };
      await expect(takeConfiguration(taking, wanted, CALL)).rejects.toMatchObject({ code: 'operator-owned' });
      expect(await own.call('configure', { name: 'mine' })).toMatchObject({ name: 'mine', changed: ['name'] });
      expect(await own.call('configure', {})).not.toHaveProperty('provider');
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });
});

describe('the local operator', () => {
  it('asks for what the provider owns, and sets at once what is his own', async () => {
    const document = await rig.call('configure', {
      name: 'attic',
      bufferBytes: 128 * MIB,
      listen: ['tcp:127.0.0.1:0'],
    });
    expect(document).toMatchObject({
      name: 'named',
      serving: { bufferBytes: null, listen: ['tcp:127.0.0.1:0'] },
      changed: ['listen'],
      requested: ['name', 'bufferBytes'],
      provider: { version: 1, request: { settings: { name: 'attic', bufferBytes: 128 * MIB } } },
    });
    expect((await live.service.configurations.standing(gatewayId, CALL.signal)).request).toMatchObject({
      requestId: document.provider?.request?.requestId,
      changes: { name: 'attic', serving: { bufferBytes: 128 * MIB } },
    });
  });

  it('sees that it was accepted once the next version is there', async () => {
    await rig.call('configure', { name: 'attic' });
    const answer = { requestId: null, accept: true, reason: null };
    await live.service.configurations.change(gatewayId, { changes: {}, answer, expectedVersion: null }, CALL.signal);
    await take({});
    expect(await rig.call('configure', {})).toMatchObject({
      name: 'attic',
      version: 2,
      provider: { request: null, answer: { accepted: true } },
    });
  });

  it('sees that it was refused, and why', async () => {
    await rig.call('configure', { cacheBytes: 64 * MIB });
    const answer = { requestId: null, accept: false, reason: 'not in your plan' };
    await live.service.configurations.change(gatewayId, { changes: {}, answer, expectedVersion: null }, CALL.signal);
    await take({});
    expect(await rig.call('configure', {})).toMatchObject({
      serving: { cacheBytes: null },
      provider: { request: null, answer: { accepted: false, reason: 'not in your plan' } },
    });
  });

  it('keeps his request while the provider changes other things', async () => {
    await rig.call('configure', { name: 'attic' });
    await provide({ serving: { readAheadBytes: 0 } });
    await take({});
    expect(await rig.call('configure', {})).toMatchObject({
      name: 'named',
      serving: { readAheadBytes: 0 },
      provider: { version: 2, request: { settings: { name: 'attic' } } },
    });
  });

  it('asks for nothing that is so already, and never for another mode', async () => {
    expect(await rig.call('configure', { name: 'named', mode: 'cached', bufferBytes: null })).toMatchObject({
      requested: [],
    });
    await expect(rig.call('configure', { mode: 'shadowing' })).rejects.toMatchObject({
      kind: 'conflict',
      code: 'mode-fixed',
    });
    expect((await live.service.configurations.standing(gatewayId, CALL.signal)).request).toBeNull();
  });

  it('whose provider can not be asked changes nothing, but what is his own alone', async () => {
    isAway = true;
    const both = rig.call('configure', { name: 'attic', listen: ['tcp:127.0.0.1:0'] });
    await expect(both).rejects.toMatchObject({ code: 'service-untrusted' });
    expect(await state()).toMatchObject({ name: 'named', serving: { tcp: [] } });
    expect((await state()).provided?.request).toBeNull();
    expect(await rig.call('configure', { listen: ['tcp:127.0.0.1:0'] })).toMatchObject({
      changed: ['listen'],
      requested: [],
    });
  });
});
