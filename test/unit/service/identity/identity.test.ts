/** What the first server makes and the others find, and what of it lies in the store. */
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../src/core/kit/index.ts';
import { memoryStore } from '../../../../src/core/objectstore/index.ts';
import { openNetworkService, ServiceKey } from '../../../../src/core/service/server/index.ts';
import { ManualClock } from '../../objectstore/manual-clock.ts';
import { NetworkRig, SERVICE_ID } from './rig.ts';

describe('the service key', () => {
  const key = new ServiceKey(Buffer.alloc(32, 1), seededRandom(1));

  it('opens what it sealed, for the same place alone', () => {
    const sealed = key.seal(Buffer.from('kumquat'), 'service/keys/a.json');
    expect(key.unseal(sealed, 'service/keys/a.json').toString()).toBe('kumquat');
    expect(() => key.unseal(sealed, 'service/keys/b.json')).toThrow('does not open service/keys/b.json');
    const other = new ServiceKey(Buffer.alloc(32, 2), seededRandom(1));
    expect(() => other.unseal(sealed, 'service/keys/a.json')).toThrow('does not open');
  });

  it('opens nothing that was changed in any byte, or cut', () => {
    const sealed = Buffer.from(key.seal(Buffer.from('kumquat'), 'p'), 'base64');
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => key.unseal(changed.toString('base64'), 'p')).toThrow('does not open');
      expect(() => key.unseal(sealed.subarray(0, at).toString('base64'), 'p')).toThrow('does not open');
    }
  });

  it('seals the same secret differently each time', () => {
    expect(key.seal(Buffer.from('x'), 'p')).not.toBe(key.seal(Buffer.from('x'), 'p'));
  });

  it('gives each purpose its own secret, the same on every server', () => {
    const again = new ServiceKey(Buffer.alloc(32, 1), seededRandom(9));
    expect(again.derive('tokens')).toEqual(key.derive('tokens'));
    expect(again.derive('tokens')).not.toEqual(key.derive('pages'));
  });

  it('shows itself to nobody', () => {
    const secret = Buffer.alloc(32, 1);
    const shown = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify({ key });
    for (const form of ['hex', 'base64', 'base64url'] as const) expect(shown).not.toContain(secret.toString(form));
  });
});

describe('servers over one store', () => {
  it('agree on CA and root account, and only the first makes a key', async () => {
    const first = await NetworkRig.open();
    const second = await NetworkRig.open(first, { seed: 2 });
    expect(second.service.authority.fingerprint).toBe(first.service.authority.fingerprint);
    expect(second.service.rootAccountId).toBe(first.service.rootAccountId);
    expect(first.service.rootKey).not.toBeNull();
    expect(second.service).toMatchObject({ rootKey: null, hasRootKey: true });
  });

  it('agree when they begin at the same moment', async () => {
    const objects = memoryStore();
    const clock = new ManualClock();
    clock.ms = Date.UTC(2026, 0, 1);
    const { signal } = new AbortController();
    const open = async (seed: number) => {
      const random = seededRandom(seed);
      const context = { blocks: { objects, clock, random }, serviceId: SERVICE_ID, isEmbedded: false };
      return await openNetworkService(
        context,
        new ServiceKey(Buffer.alloc(32, 7), random),
        { newRootKey: false },
        signal,
      );
    };
    const servers = await Promise.all([1, 2, 3, 4].map(open));
    expect(new Set(servers.map(({ authority }) => authority.fingerprint)).size).toBe(1);
    expect(new Set(servers.map(({ rootAccountId }) => rootAccountId)).size).toBe(1);
    expect(servers.filter(({ rootKey }) => rootKey !== null)).toHaveLength(1);
  });

  it('refuse a service key that is another one', async () => {
    const first = await NetworkRig.open();
    await expect(NetworkRig.open(first, { secret: Buffer.alloc(32, 8) })).rejects.toMatchObject({
      ...{ code: 'service-key-wrong', kind: 'denied' },
    });
  });

  it('make another key of the root account when they are asked to', async () => {
    const first = await NetworkRig.open();
    const again = await NetworkRig.open(first, { seed: 3, newRootKey: true });
    expect(again.service.rootKey?.accessKeyId).not.toBe(first.service.rootKey?.accessKeyId);
    expect(again.service.rootKey?.accountId).toBe(first.service.rootAccountId);
  });

  it('go on after a death at any write of the first start', async () => {
    for (let writes = 0; writes < 5; writes++) {
      const objects = memoryStore();
      let left = writes;
      const dying = {
        ...objects,
        get description() {
          return objects.description;
        },
        put: async (...args: Parameters<typeof objects.put>) => {
          if (left-- <= 0) throw new Error('killed');
          return await objects.put(...args);
        },
        get: objects.get.bind(objects),
        head: objects.head.bind(objects),
        list: objects.list.bind(objects),
        delete: objects.delete.bind(objects),
      };
      const clock = new ManualClock();
      clock.ms = Date.UTC(2026, 0, 1);
      const open = async (over: typeof objects, seed: number) => {
        const random = seededRandom(seed);
        const context = { blocks: { objects: over, clock, random }, serviceId: SERVICE_ID, isEmbedded: false };
        const key = new ServiceKey(Buffer.alloc(32, 7), random);
        return await openNetworkService(context, key, { newRootKey: true }, new AbortController().signal);
      };
      if (writes < 4) await expect(open(dying as unknown as typeof objects, 1)).rejects.toThrow('killed');
      const service = await open(objects, 2);
      const signer = await service.keys.checkSecret(
        service.rootKey?.accessKeyId ?? '',
        service.rootKey?.secretAccessKey ?? '',
        new AbortController().signal,
      );
      expect(signer.isRoot).toBe(true);
      expect(
        (await service.accounts.list(new AbortController().signal)).filter(({ name }) => name === 'root'),
      ).toHaveLength(1);
    }
  });
});

describe('access keys', () => {
  it('have the form that AWS clients expect', async () => {
    const rig = await NetworkRig.open();
    const { accountId } = await rig.service.accounts.create(
      { name: 'a', accountId: null, clientToken: null },
      rig.signal,
    );
    const made = await rig.service.keys.create({ accountId, userName: 'u' }, rig.signal);
    expect(made.accessKeyId).toMatch(/^AKIA[A-Z2-7]{16}$/);
    expect(made.secretAccessKey).toMatch(/^[A-Za-z0-9+/]{40}$/);
  });

  it('and the CA lie in the store without their secrets', async () => {
    const rig = await NetworkRig.open();
    const text = await rig.texts('');
    expect(text).toContain(rig.service.rootKey?.accessKeyId);
    expect(text).not.toContain(rig.service.rootKey?.secretAccessKey);
    expect(text).not.toContain('PRIVATE KEY');
  });

  it('are checked by their secret, in the same words for whatever is wrong', async () => {
    const rig = await NetworkRig.open();
    const { rootKey, keys } = rig.service;
    const { accessKeyId = '', secretAccessKey = '' } = rootKey ?? {};
    expect(await keys.checkSecret(accessKeyId, secretAccessKey, rig.signal)).toMatchObject({ isRoot: true });
    const refusals: unknown[] = [];
    for (const [id, secret] of [
      [accessKeyId, 'x'],
      [`AKIA${'A'.repeat(16)}`, secretAccessKey],
      ['', ''],
    ] as const)
      refusals.push(await keys.checkSecret(id, secret, rig.signal).catch((error: unknown) => String(error)));
    expect(new Set(refusals).size).toBe(1);
    expect(refusals[0]).toContain('unknown or revoked');
  });

  it('that another server revoked are refused within two seconds', async () => {
    const first = await NetworkRig.open();
    const second = await NetworkRig.open(first, { seed: 2 });
    const { accessKeyId = '' } = first.service.rootKey ?? {};
    expect(await second.service.keys.signingKey(accessKeyId, second.signal)).toBeDefined();
    await first.service.keys.revoke(accessKeyId, first.signal);
    expect(await first.service.keys.signingKey(accessKeyId, first.signal)).toBeUndefined();
    first.clock.ms += 2000;
    expect(await second.service.keys.signingKey(accessKeyId, second.signal)).toBeUndefined();
  });

  it('are at most 100 good ones of an account', async () => {
    const rig = await NetworkRig.open();
    const wish = { accountId: rig.service.rootAccountId, userName: 'u' };
    for (let count = 1; count < 100; count++) await rig.service.keys.create(wish, rig.signal);
    await expect(rig.service.keys.create(wish, rig.signal)).rejects.toMatchObject({ code: 'too-many-keys' });
    await rig.service.keys.revoke(rig.service.rootKey?.accessKeyId ?? '', rig.signal);
    await rig.service.keys.create(wish, rig.signal);
  });
});
