/**
 * C17: each way that could make another account's blocks look like one's own, tried with whatever the accounts do on it.
 * SGW_SEED=N replays a run.
 */
import fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FramePool, openVolumeWriter, PAGE_BYTES } from '../../src/core/blockstore/index.ts';
import { openRawImage } from '../../src/core/image/index.ts';
import { importImage } from '../../src/core/transfer/index.ts';
import { sealedStore } from '../unit/blockstore/sealed-store.ts';
import { holder, optionsOver } from '../unit/blockstore/volume-model.ts';
import { authorsOf, idOf, Scene, type Held, type Taken, type Who } from './laundering-scene.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261123);
const RUNS = Number(process.env['SGW_RUNS'] ?? 25);
const PAGES = 40;
const SIZE = PAGES * PAGE_BYTES;
const [ANNA, BERT, CLEO] = [0, 1, 2] as const;

const pages = fc.uniqueArray(fc.nat(PAGES - 1), { minLength: 1, maxLength: PAGES });
const someone = fc.constantFrom<Who>(ANNA, BERT, CLEO);

const options = { seed, numRuns: RUNS, interruptAfterTimeLimit: 60_000 };
const TIMEOUT = { timeout: 120_000 };

let folder: string;
let pool: FramePool;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-laundering-'));
  pool = new FramePool({ threads: 1 });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Anna's snapshot, and a clone of it for somebody else. */
async function cloned(scene: Scene, written: readonly number[], owner: Who = BERT): Promise<Held> {
  const golden = await scene.volume(ANNA, SIZE);
  await scene.write(golden, written);
  return await scene.volume(owner, SIZE, await scene.snapshot(golden));
}

async function importInto(scene: Scene, volume: Held, contents: Buffer): Promise<void> {
  const path = join(folder, `${volume.entry.volumeId}.img`);
  await writeFile(path, contents);
  await using image = await openRawImage(path);
  const writer = await openVolumeWriter(scene.blocks, volume.entry.volumeId, {
    holder,
    accountId: idOf(volume.owner),
  });
  try {
    await importImage({ pool, writer, image, diff: writer.map.mappedPages > 0, alwaysCommit: true });
    await writer.close();
  } finally {
    await writer.abandon();
    await rm(path);
  }
}

describe(`blocks of another account (SGW_SEED=${String(seed)})`, () => {
  it.each([
    ['in a store without a key', false],
    ['in a sealed store', true],
  ])('C17 stay its own in clones and clones of clones, %s', TIMEOUT, async (_store, isSealed) => {
    const step = fc.record({ who: someone, from: fc.nat(7), pages });
    await fc.assert(
      fc.asyncProperty(pages, fc.array(step, { minLength: 1, maxLength: 5 }), async (first, steps) => {
        const scene = await Scene.start(isSealed ? (await sealedStore()).options : optionsOver());
        const golden = await scene.volume(ANNA, SIZE);
        await scene.write(golden, first);
        const snapshots: Taken[] = [await scene.snapshot(golden)];
        for (const { who, from, pages: written } of steps) {
          const source = snapshots[from % snapshots.length];
          const clone = await scene.volume(who, SIZE, source);
          // Before anything is written, it is as much Anna's as what it was made of.
          const bare = await scene.snapshot(clone);
          await scene.write(clone, written);
          snapshots.push(bare, await scene.snapshot(clone));
        }
        for (const snapshot of snapshots) await scene.expectNotLaundered(snapshot);
      }),
      options,
    );
  });

  it(
    'C17 are gone only when every page of them is: what is all overwritten is the own of who wrote it',
    TIMEOUT,
    async () => {
      await fc.assert(
        fc.asyncProperty(pages, pages, async (annas, berts) => {
          const scene = await Scene.start();
          const clone = await cloned(scene, annas);
          await scene.write(clone, berts);
          const snapshot = await scene.snapshot(clone);
          const isLeft = annas.some((page) => !berts.includes(page));
          expect(await scene.creatorsOf(snapshot)).toEqual(isLeft ? [idOf(ANNA), idOf(BERT)] : [idOf(BERT)]);
          expect(await scene.mayExport(BERT, snapshot)).toBe(!isLeft);
          await scene.expectNotLaundered(snapshot);
        }),
        options,
      );
    },
  );

  it('C17 stay its own when gc writes them anew, whoever runs it', TIMEOUT, async () => {
    let rewritten = 0;
    const few = fc.uniqueArray(fc.nat(PAGES - 1), { minLength: 1, maxLength: 8 });
    const all = Array.from({ length: PAGES }, (_, page) => page);
    await fc.assert(
      fc.asyncProperty(few, pages, fc.integer({ min: 1, max: SIZE }), someone, async (kept, berts, cut, by) => {
        const scene = await Scene.start();
        // A clone of Bert's whose own segments are poor, with a page that is both accounts'.
        const clone = await cloned(scene, all);
        await scene.resize(clone, cut);
        await scene.write(clone, berts);
        // A volume of Anna's whose first segment is poor, and which nothing else needs.
        const annas = await scene.volume(ANNA, SIZE);
        await scene.write(annas, all);
        for (const volume of [annas, clone])
          await scene.write(
            volume,
            all.filter((page) => !kept.includes(page)),
          );
        const volumes = [annas, clone];
        const before: { readonly contents: Buffer; readonly creators: readonly string[] }[] = [];
        for (const volume of volumes) {
          const snapshot = await scene.snapshot(volume);
          before.push({ contents: await scene.read(snapshot), creators: await scene.creatorsOf(snapshot) });
          await scene.deleteSnapshot(snapshot);
        }
        rewritten += await scene.collect(by);
        for (const [at, volume] of volumes.entries()) {
          const after = await scene.snapshot(volume);
          expect((await scene.read(after)).equals(before[at]?.contents ?? Buffer.alloc(0))).toBe(true);
          expect(await scene.creatorsOf(after)).toEqual(before[at]?.creators);
          await scene.expectNotLaundered(after);
        }
      }),
      options,
    );
    expect(rewritten).toBeGreaterThan(0);
  });

  it(
    'C17 stay its own when somebody imports the same bytes over them, and only what differs is new',
    TIMEOUT,
    async () => {
      await fc.assert(
        fc.asyncProperty(pages, fc.array(fc.nat(PAGES - 1), { maxLength: 8 }), async (annas, changed) => {
          const scene = await Scene.start();
          const clone = await cloned(scene, annas);
          const same = await scene.read(await scene.snapshot(clone));
          await importInto(scene, clone, same);
          const equal = await scene.snapshot(clone);
          expect(await scene.creatorsOf(equal)).toEqual([idOf(ANNA)]);
          await scene.expectNotLaundered(equal);
          for (const page of changed) scene.page(BERT).copy(same, page * PAGE_BYTES);
          await importInto(scene, clone, same);
          await scene.expectNotLaundered(await scene.snapshot(clone));
        }),
        { ...options, numRuns: Math.ceil(RUNS / 2) },
      );
    },
  );

  it('C17 stay its own in a page that a resize cuts, which becomes both accounts', TIMEOUT, async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: SIZE }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(pages, fc.array(fc.nat(PAGES - 1), { maxLength: 4 }), sizes, async (annas, berts, cuts) => {
        const scene = await Scene.start();
        const clone = await cloned(scene, annas);
        if (berts.length > 0) await scene.write(clone, [...new Set(berts)]);
        for (const sizeBytes of cuts) {
          await scene.resize(clone, sizeBytes);
          await scene.expectNotLaundered(await scene.snapshot(clone));
        }
      }),
      options,
    );
  });

  it(
    'C17 are not set free by sharing for a while: after unshare, no snapshot of a clone gets out',
    TIMEOUT,
    async () => {
      const move = fc.oneof(
        fc.record({ do: fc.constant('share' as const), by: someone, to: someone }),
        fc.record({ do: fc.constant('unshare' as const), by: someone, to: someone }),
      );
      await fc.assert(
        fc.asyncProperty(pages, pages, fc.array(move, { maxLength: 8 }), async (annas, berts, moves) => {
          const scene = await Scene.start();
          const golden = await scene.volume(ANNA, SIZE);
          await scene.write(golden, annas);
          const shared = await scene.snapshot(golden);
          await scene.share(ANNA, shared, BERT);
          expect(await scene.mayExport(BERT, shared)).toBe(true);
          const clone = await scene.volume(BERT, SIZE, shared);
          await scene.unshare(ANNA, shared, BERT);
          await scene.expectNotLaundered(shared);
          await scene.write(clone, berts);
          const snapshot = await scene.snapshot(clone);
          await scene.expectNotLaundered(snapshot);
          let grants: (readonly [Who, Who])[] = [];
          const mayGrant = new Set<Who>([BERT, ...authorsOf(await scene.read(snapshot))]);
          for (const { do: what, by, to } of moves) {
            if (by === to || !mayGrant.has(by)) continue;
            grants = grants.filter(([from, whom]) => from !== by || whom !== to);
            if (what === 'share') {
              await scene.share(by, snapshot, to);
              grants.push([by, to]);
            } else {
              await scene.unshare(by, snapshot, to);
            }
            await scene.expectNotLaundered(snapshot, grants);
          }
          // What is made of it later has no grants of its own.
          await scene.expectNotLaundered(await scene.snapshot(clone));
        }),
        options,
      );
    },
  );

  it('C17 may be taken out and in again by who was allowed to: then they are its own', TIMEOUT, async () => {
    await fc.assert(
      fc.asyncProperty(pages, async (annas) => {
        const scene = await Scene.start();
        const golden = await scene.volume(ANNA, SIZE);
        await scene.write(golden, annas);
        const shared = await scene.snapshot(golden);
        await scene.share(ANNA, shared, BERT);
        expect(await scene.mayExport(BERT, shared)).toBe(true);
        const own = await scene.volume(BERT, SIZE);
        await importInto(scene, own, await scene.read(shared));
        const snapshot = await scene.snapshot(own);
        expect(await scene.creatorsOf(snapshot)).toEqual([idOf(BERT)]);
        await scene.unshare(ANNA, shared, BERT);
        expect(await scene.mayExport(BERT, snapshot)).toBe(true);
      }),
      { ...options, numRuns: Math.ceil(RUNS / 2) },
    );
  });
});
