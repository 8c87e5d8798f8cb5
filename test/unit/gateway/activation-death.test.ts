/** S5: a death at each step of activation, and starting again: one gateway is registered, and nothing else can be used. */
import { mkdir, readFile, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readDocument } from '../../../src/core/blockstore/index.ts';
import { systemRandom } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { openState, updateState } from '../../../src/core/state/index.ts';
import { ManualClock } from '../objectstore/manual-clock.ts';
import { dying, type DyingOptions } from './dying-service.ts';
import { GatewayRig } from './rig.ts';

const INPUT = { name: 'lab', mode: 'cached' } as const;
/** More than there are. */
const MESSAGES_MAX = 32;

interface Registered {
  readonly gatewayId: string;
  readonly state: string;
  readonly gatewayName: string;
}

async function documents<T extends object>(objects: ObjectStore, prefix: string): Promise<T[]> {
  const found: T[] = [];
  for await (const { key } of objects.list(prefix)) {
    const stored = await readDocument<T>({ objects }, key);
    if (stored !== undefined) found.push(stored.value);
  }
  return found;
}

/** One gateway is registered, it is that of the home, it works, and no activation waits for anybody. */
async function expectOneGateway(rig: GatewayRig, name = 'lab'): Promise<void> {
  await rig.call('volume.create', { name: 'v', sizeBytes: 4096 });
  await rig.call('snapshot.create', { volume: 'v', name: 's' });
  expect(await rig.call('snapshot.show', { snapshot: 's' })).toMatchObject({ exportable: true });
  const { gateway, activation } = await openState(rig.path('home'));
  expect(activation).toBeNull();
  const active = (await documents<Registered>(rig.objects, 'service/gateways/')).filter(
    ({ state }) => state === 'active',
  );
  expect(active).toMatchObject([{ gatewayId: gateway?.gatewayId, gatewayName: name }]);
  const activations = await documents<{ state: string }>(rig.objects, 'service/activations/');
  expect(activations.filter(({ state }) => state === 'issued')).toHaveLength(1);
  expect(activations.filter(({ state }) => state !== 'issued' && state !== 'withdrawn')).toEqual([]);
  expect((await stat(join(rig.path('home'), 'gateway.key'))).mode & 0o777).toBe(0o600);
}

/** Runs `test` with a death at every message, until one run has no such message any more. Returns how many there are. */
async function atEveryMessage(
  when: DyingOptions['when'],
  test: (options: DyingOptions) => Promise<{ sent: () => number }>,
): Promise<number> {
  for (let at = 0; at < MESSAGES_MAX; at++) {
    const { sent } = await test({ at, when });
    if (sent() <= at) return at;
  }
  throw new Error('activation has no end');
}

describe('activation that died', () => {
  it.each(['before', 'after'] as const)('S5 %s any message goes on, to one gateway', async (when) => {
    const count = await atEveryMessage(when, async (options) => {
      const death = dying(options);
      await using rig = await GatewayRig.fresh();
      const first = rig.again({ between: death.between });
      const outcome = await first.call('activate', INPUT).catch((error: unknown) => error);
      if (death.sent() > options.at) {
        expect(outcome).toMatchObject({ message: expect.stringContaining('died') as string });
        expect(await rig.call('status', {})).toMatchObject({ activated: false });
        expect(await rig.call('activate', INPUT)).toMatchObject({ created: true, name: 'lab' });
      }
      await expectOneGateway(rig);
      return death;
    });
    expect(count).toBeGreaterThanOrEqual(8);
  });

  it('S5 in writing its own state goes on, to one gateway', async () => {
    await atEveryMessage('after', async ({ at, when }) => {
      await using rig = await GatewayRig.fresh();
      const obstacle = join(rig.path('home'), 'state.json.previous.new');
      const death = dying({
        at,
        when,
        // The next write of the state finds what it can not remove.
        instead: async () => {
          await mkdir(join(obstacle, 'in-the-way'), { recursive: true });
        },
      });
      const first = rig.again({ between: death.between });
      const outcome = await first.call('activate', INPUT).catch((error: unknown) => error);
      if (death.sent() > at) {
        expect(outcome).toBeInstanceOf(Error);
        await rmdir(join(obstacle, 'in-the-way'));
        await rmdir(obstacle);
        await rig.call('activate', INPUT);
      }
      await expectOneGateway(rig);
      return death;
    });
  });

  it('S5 twice at different messages goes on all the same', async () => {
    for (let at = 0; at < 8; at++) {
      await using rig = await GatewayRig.fresh();
      for (const when of ['before', 'after'] as const) {
        const again = rig.again({ between: dying({ at, when }).between });
        await again.call('activate', INPUT).catch(() => undefined);
      }
      await rig.call('activate', { ...INPUT, ifNotExists: true });
      await expectOneGateway(rig);
    }
  });

  it.each(['before', 'after'] as const)(
    'S5 %s any message, and is asked for another name, gives up the first',
    async (when) => {
      await atEveryMessage(when, async (options) => {
        const death = dying(options);
        await using rig = await GatewayRig.fresh();
        await rig
          .again({ between: death.between })
          .call('activate', { ...INPUT, name: 'first' })
          .catch(() => undefined);
        const isThere = (await rig.call('status', {})).activated;
        if (!isThere) await rig.call('activate', INPUT);
        await expectOneGateway(rig, isThere ? 'first' : 'lab');
        return death;
      });
    },
  );

  it('S5 and whose activation key expired meanwhile gets another one', async () => {
    const clock = new ManualClock();
    clock.ms = Date.UTC(2026, 0, 1);
    const options = { clock };
    // account.begin, register, prove, describe, claim: dies before the claim.
    await using rig = await GatewayRig.fresh(memoryStore(), options);
    const first = rig.again({ ...options, between: dying({ at: 4, when: 'before' }).between });
    await expect(first.call('activate', INPUT)).rejects.toThrow('died');
    const { activation } = await openState(rig.path('home'));
    expect(activation).toMatchObject({ step: 'shown' });
    clock.ms += 31 * 60_000;
    const made = await rig.call('activate', INPUT);
    expect(made.activationKey).not.toBe(activation?.activationKey);
    await expectOneGateway(rig);
  });

  it.each(['lost', 'damaged'])('S5 and whose private key was %s meanwhile begins with another one', async (how) => {
    await using rig = await GatewayRig.fresh();
    const first = rig.again({ between: dying({ at: 4, when: 'before' }).between });
    await expect(first.call('activate', INPUT)).rejects.toThrow('died');
    const path = join(rig.path('home'), 'gateway.key');
    if (how === 'lost') await unlink(path);
    else await writeFile(path, 'garbage');
    expect(await rig.call('activate', INPUT)).toMatchObject({ created: true });
    expect(await documents(rig.objects, 'service/gateways/')).toMatchObject([{ state: 'active' }]);
    expect(await rig.call('status', {})).toMatchObject({ activated: true });
  });
});

describe('activation', () => {
  it('S5 shows the key and the metadata that were claimed, and keeps the private key out of everything else', async () => {
    await using rig = await GatewayRig.fresh();
    const made = await rig.call('activate', INPUT);
    expect(made.activationKey).toMatch(/^([0-9A-Z]{5}-){4}[0-9A-Z]{5}$/);
    expect(made.metadata).toEqual({
      name: 'lab',
      mode: 'cached',
      version: '0.0.0',
      platform: `${process.platform} ${process.arch}`,
    });
    const secret = /:(.*)\n/.exec(await readFile(join(rig.path('home'), 'gateway.key'), 'utf8'))?.[1] ?? '';
    expect(secret).toHaveLength(43);
    const bytes = Buffer.from(secret, 'base64url');
    const state = await readFile(join(rig.path('home'), 'state.json'), 'utf8');
    const stored = JSON.stringify(await documents(rig.objects, ''));
    for (const text of [state, stored, JSON.stringify(made)]) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const)
        expect(text).not.toContain(bytes.toString(encoding));
    }
  });
});

describe('a home of before there was a service', () => {
  const older = async (rig: GatewayRig): Promise<string> => {
    const { gatewayId } = await rig.call('activate', INPUT);
    for await (const { key } of rig.objects.list('service/')) await rig.objects.delete(key);
    await updateState(rig.path('home'), (state) => {
      Object.assign(state.gateway ?? {}, { credential: null, activationKey: null, metadata: {} });
    });
    return gatewayId;
  };

  it('is enrolled at its first question to the service, without a word, under its own id', async () => {
    await using rig = await GatewayRig.fresh();
    const gatewayId = await older(rig);
    await rig.call('volume.create', { name: 'v0', sizeBytes: 4096 });
    expect(await documents(rig.objects, 'service/')).toEqual([]);
    await expectOneGateway(rig);
    expect(await documents(rig.objects, 'service/gateways/')).toMatchObject([{ gatewayId }]);
  });

  it.each(['before', 'after'] as const)('goes on when that died %s any message', async (when) => {
    await atEveryMessage(when, async (options) => {
      await using rig = await GatewayRig.fresh();
      await older(rig);
      await rig.call('volume.create', { name: 'w', sizeBytes: 4096 });
      await rig.call('snapshot.create', { volume: 'w', name: 'w' });
      const death = dying(options);
      const first = rig.again({ between: death.between });
      await first.call('snapshot.show', { snapshot: 'w' }).catch(() => undefined);
      await expectOneGateway(rig);
      return death;
    });
  });

  it('and was renamed in the middle of it goes on with its new name', async () => {
    for (let at = 1; at < 8; at++) {
      await using rig = await GatewayRig.fresh();
      await older(rig);
      await rig.call('volume.create', { name: 'w', sizeBytes: 4096 });
      await rig.call('snapshot.create', { volume: 'w', name: 'w' });
      const first = rig.again({ between: dying({ at, when: 'after' }).between });
      await expect(first.call('snapshot.show', { snapshot: 'w' })).rejects.toThrow('died');
      await rig.call('configure', { name: 'renamed' });
      await expectOneGateway(rig, 'renamed');
    }
  });
});

describe('deactivation', () => {
  it('takes the identity and the private key, tells the service, and leaves the store', async () => {
    await using rig = await GatewayRig.fresh();
    const first = await rig.call('activate', INPUT);
    await rig.call('volume.create', { name: 'kept', sizeBytes: 4096 });
    expect(await rig.call('deactivate', {})).toMatchObject({ gatewayId: first.gatewayId, name: 'lab' });
    expect(await rig.call('status', {})).toMatchObject({ activated: false });
    await expect(stat(join(rig.path('home'), 'gateway.key'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(rig.call('volume.list', {})).rejects.toMatchObject({ code: 'not-activated' });
    await expect(rig.call('deactivate', {})).rejects.toMatchObject({ code: 'not-activated' });
    expect(await documents(rig.objects, 'service/gateways/')).toMatchObject([{ state: 'deregistered' }]);
    const second = await rig.call('activate', INPUT);
    expect(second.gatewayId).not.toBe(first.gatewayId);
    expect(await rig.call('volume.list', {})).toMatchObject({ volumes: [{ name: 'kept' }] });
  });

  it('is refused while this gateway holds a volume, of whatever account', async () => {
    await using rig = await GatewayRig.fresh();
    const { gatewayId } = await rig.call('activate', INPUT);
    await rig.call('service.account.create', { name: 'bert', accountId: '222222222222' });
    await using bert = rig.again({ accountId: '222222222222' });
    const { volumeId } = await bert.call('volume.create', { name: 'v', sizeBytes: 4096 });
    const { openVolumeWriter } = await import('../../../src/core/blockstore/index.ts');
    const writer = await openVolumeWriter(
      { objects: rig.objects, clock: new ManualClock(), random: systemRandom },
      volumeId as `vol-${string}`,
      { holder: { gatewayId, name: 'lab' }, accountId: '222222222222', signal: new AbortController().signal },
    );
    await expect(rig.call('deactivate', {})).rejects.toMatchObject({ kind: 'conflict', code: 'volumes-attached' });
    await writer.close();
    await rig.call('deactivate', {});
  });

  it.each(['before', 'after'] as const)('that died %s its message goes on', async (when) => {
    await using rig = await GatewayRig.fresh();
    await rig.call('activate', INPUT);
    const first = rig.again({ between: dying({ at: 0, when }).between });
    await expect(first.call('deactivate', {})).rejects.toThrow('died');
    await rig.call('deactivate', {});
    expect(await documents(rig.objects, 'service/gateways/')).toMatchObject([{ state: 'deregistered' }]);
    await rig.call('activate', INPUT);
  });

  it('of a gateway that lost its private key is told to the service by the operator', async () => {
    await using rig = await GatewayRig.fresh();
    await rig.call('activate', INPUT);
    await writeFile(join(rig.path('home'), 'gateway.key'), 'garbage');
    await rig.call('volume.create', { name: 'v', sizeBytes: 4096 });
    await rig.call('snapshot.create', { volume: 'v', name: 's' });
    await expect(rig.call('snapshot.show', { snapshot: 's' })).rejects.toMatchObject({ code: 'identity-damaged' });
    await rig.call('deactivate', {});
    expect(await documents(rig.objects, 'service/gateways/')).toMatchObject([{ state: 'deregistered' }]);
    await rig.call('activate', INPUT);
  });
});
