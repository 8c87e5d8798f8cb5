/** A server of the block API that dies at each step: what was asked for is asked again, and is as if asked once. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectGarbage } from '../../../../src/core/blockstore/gc/index.ts';
import { Catalog } from '../../../../src/core/blockstore/index.ts';
import type { ObjectStore } from '../../../../src/core/objectstore/index.ts';
import { BLOCK, BlockRig, blockOf, codeOf, type Answer, type BlockUser } from './block-rig.ts';

let rig: BlockRig;
let anna: BlockUser;
beforeEach(async () => {
  rig = await BlockRig.start();
  anna = await rig.user('anna');
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

/** A store that dies with its `steps`th write: that is done or not, and nothing is answered from then on. */
function dying(
  objects: ObjectStore,
  steps: number,
  isDone: boolean,
): { readonly store: ObjectStore; readonly died: () => boolean } {
  let writes = 0;
  let isDead = false;
  const gone = (): Error => new Error('the server was killed');
  const store = new Proxy(objects, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const method = value as (...args: unknown[]) => unknown;
      if (name !== 'put' && name !== 'delete')
        return (...args: unknown[]): unknown => {
          if (isDead) throw gone();
          return method.apply(target, args);
        };
      return async (...args: unknown[]): Promise<unknown> => {
        if (isDead) throw gone();
        if (writes++ !== steps) return await method.apply(target, args);
        isDead = true;
        if (isDone) await method.apply(target, args);
        throw gone();
      };
    },
  });
  return { store, died: () => isDead };
}

/** Runs `act` on servers that die at their first, second, ... write, until one lives; `check` looks after each, on one that does not die. */
async function eachStep(
  prepare: () => Promise<string>,
  act: (who: BlockUser, id: string) => Promise<Answer>,
  check: (id: string, again: Answer) => Promise<void>,
): Promise<number> {
  let steps = 0;
  for (const isDone of [false, true]) {
    for (let step = 0; ; step++) {
      const id = await prepare();
      const { store, died } = dying(rig.blocks.objects, step, isDone);
      const answer = await act(anna.at(await rig.server(store)), id);
      const again = await act(anna, id);
      expect(again.status, JSON.stringify(again.document)).toBeLessThan(300);
      await check(id, again);
      if (!died()) {
        expect(answer.status).toBeLessThan(300);
        break;
      }
      steps += 1;
    }
  }
  return steps;
}

describe('a server that dies at any write', () => {
  it('of making a snapshot: one is made, of all that was taken, and the volume goes on', async () => {
    const steps = await eachStep(
      async () => {
        const { volumeId } = await anna.create();
        await anna.put(volumeId, 1, blockOf(1));
        await anna.snapshot(volumeId, { name: 'before' });
        await anna.put(volumeId, 2, blockOf(2));
        return volumeId;
      },
      async (who, id) =>
        await who.ask('POST', `/v1/volumes/${id}/snapshots`, { body: { name: 'made', clientToken: id } }),
      async (volumeId, { document }) => {
        const snapshotId = String(document['snapshotId']);
        const all = await new Catalog(rig.blocks).listSnapshots();
        const made = all.filter((entry) => entry.volumeId === volumeId && entry.name === 'made');
        expect(made.map((entry) => [entry.snapshotId, entry.state])).toEqual([[snapshotId, 'completed']]);
        expect(await anna.written(snapshotId)).toEqual([1, 2]);
        await anna.put(volumeId, 3, blockOf(3));
        expect(await anna.written(volumeId)).toEqual([1, 2, 3]);
        await anna.ask('DELETE', `/v1/snapshots/${snapshotId}`);
        await collectGarbage(rig.blocks, { graceMs: 0, undeleteMs: 0 });
        for (const block of [1, 2, 3]) expect((await anna.get(volumeId, block)).equals(blockOf(block))).toBe(true);
      },
    );
    expect(steps).toBeGreaterThan(8);
  }, 120_000);

  it('of creating a volume: one is there, and works', async () => {
    let count = 0;
    const steps = await eachStep(
      async () => Promise.resolve(`token-${String((count += 1))}`),
      async (who, clientToken) =>
        await who.ask('POST', '/v1/volumes', { body: { name: clientToken, sizeBytes: 8 * BLOCK, clientToken } }),
      async (name, { document }) => {
        const volumeId = String(document['volumeId']);
        await anna.put(volumeId, 1, blockOf(1));
        expect(await anna.written(volumeId)).toEqual([1]);
        const listed = (await anna.ask('GET', '/v1/volumes')).document['volumes'] as { name: string }[];
        expect(listed.filter((volume) => volume.name === name)).toHaveLength(1);
      },
    );
    expect(steps).toBeGreaterThan(4);
  }, 120_000);

  it('of deleting a volume: it is gone, and gc takes what it had', async () => {
    const steps = await eachStep(
      async () => {
        const { volumeId } = await anna.create();
        await anna.put(volumeId, 1, blockOf(1));
        return volumeId;
      },
      async (who, id) => await who.ask('DELETE', `/v1/volumes/${id}`),
      async (id) => {
        expect(codeOf(await anna.ask('GET', `/v1/volumes/${id}`))).toBe('volume-not-found');
        for (let i = 0; i < 2; i++) await collectGarbage(rig.blocks, { graceMs: 0, undeleteMs: 0 });
        expect(await Array.fromAsync(rig.blocks.objects.list('uploads/'))).toEqual([]);
      },
    );
    expect(steps).toBeGreaterThan(2);
  }, 120_000);
});
