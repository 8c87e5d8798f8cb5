/**
 * Whatever three accounts do with their volumes and snapshots through the data endpoint, each byte of another account's objects
 * that one may read is a byte of a frame or a map node that was granted to it, and all of those are.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Catalog, type SnapshotEntry, type VolumeEntry } from '../../src/core/blockstore/index.ts';
import { nodeLoader } from '../../src/core/blockstore/map-object.ts';
import { decodeInterior, decodeLeaf, type NodePointer } from '../../src/core/blockstore/node-codec.ts';
import { readSegmentIndex } from '../../src/core/blockstore/segment-reader.ts';
import { judge } from '../../src/core/service/exportcontrol/rights.ts';
import { SgwError } from '../../src/core/kit/index.ts';
import { accountOf, EVERYBODY, Tenants, type Who } from '../unit/service/dataendpoint/tenants.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 20261130);
const RUNS = Number(process.env['SGW_RUNS'] ?? 12);
const PAGES = 256;

const who = fc.constantFrom(...EVERYBODY);
const some = fc.nat({ max: 30 });
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('volume' as const), who }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      volume: some,
      pages: fc.uniqueArray(fc.nat({ max: PAGES - 1 }), { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('snapshot' as const), volume: some }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('share' as const), snapshot: some, by: who, with: who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unshare' as const), snapshot: some, by: who, with: who }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('clone' as const), snapshot: some, who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('deleteSnapshot' as const), snapshot: some }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What was granted, kept beside the service by the rules of docs/formats/data-endpoint.md alone. */
interface Held {
  readonly entry: VolumeEntry;
  readonly owner: Who;
  readonly granted: readonly NodePointer[];
}

class Model {
  readonly tenants: Tenants;
  readonly volumes: Held[] = [];
  readonly snapshots: { entry: SnapshotEntry; readonly owner: Who; readonly of: Held }[] = [];

  constructor(tenants: Tenants) {
    this.tenants = tenants;
  }

  async run(one: Step): Promise<void> {
    const pick = <T>(from: readonly T[], at: number): T | undefined => from[at % Math.max(1, from.length)];
    switch (one.kind) {
      case 'volume':
        this.volumes.push({ entry: await this.tenants.volume(one.who), owner: one.who, granted: [] });
        return;
      case 'write': {
        const volume = pick(this.volumes, one.volume);
        if (volume !== undefined) await this.tenants.write(volume.owner, volume.entry, one.pages);
        return;
      }
      case 'snapshot': {
        const of = pick(this.volumes, one.volume);
        if (of === undefined) return;
        this.snapshots.push({ entry: await this.tenants.snapshot(of.owner, of.entry), owner: of.owner, of });
        return;
      }
      case 'share':
      case 'unshare': {
        const snapshot = pick(this.snapshots, one.snapshot);
        if (snapshot === undefined || one.by === one.with) return;
        try {
          await this.tenants[one.kind](one.by, snapshot.entry, one.with);
        } catch (error) {
          if (!(error instanceof SgwError) || (error.kind !== 'notFound' && error.kind !== 'denied')) throw error;
        }
        return;
      }
      case 'clone':
        await this.#clone(one.who, pick(this.snapshots, one.snapshot));
        return;
      case 'deleteSnapshot': {
        const snapshot = pick(this.snapshots, one.snapshot);
        if (snapshot === undefined) return;
        const catalog = new Catalog(this.tenants.of(snapshot.owner));
        await catalog.updateSnapshot(snapshot.entry.snapshotId, (now) => ({ ...now, state: 'deleted' }));
        this.tenants.settle();
      }
    }
  }

  async #clone(by: Who, from: Model['snapshots'][number] | undefined): Promise<void> {
    if (from === undefined) return;
    const now = await new Catalog(this.tenants.blocks).getSnapshot(from.entry.snapshotId);
    const isOwn = from.owner === by;
    const may = now.state === 'completed' && (isOwn || judge(accountOf(by), now).mayExport);
    try {
      const entry = await this.tenants.volume(by, 0, from.entry);
      expect(may).toBe(true);
      const { root } = now;
      this.volumes.push({ entry, owner: by, granted: isOwn ? from.of.granted : root === null ? [] : [root] });
    } catch (error) {
      if (!(error instanceof SgwError)) throw error;
      expect(may).toBe(false);
    }
  }

  /** Whether the volume or snapshot of that folder and id is the account's. */
  owns(account: Who, folder: string | undefined, id: string | undefined): boolean {
    return folder === 'volumes'
      ? this.volumes.some(({ owner, entry }) => owner === account && entry.volumeId === id)
      : this.snapshots.some(({ owner, entry }) => owner === account && entry.snapshotId === id);
  }

  /** The roots that an account may read by: with their frames, or only their nodes. */
  async rootsOf(account: Who): Promise<{ readonly full: NodePointer[]; readonly nodes: NodePointer[] }> {
    const full = this.volumes.filter(({ owner }) => owner === account).flatMap(({ granted }) => [...granted]);
    const nodes: NodePointer[] = [];
    for (const { entry, owner } of this.snapshots) {
      const now = await new Catalog(this.tenants.blocks).getSnapshot(entry.snapshotId);
      if (owner === account || now.state !== 'completed' || now.root === null) continue;
      const verdict = judge(accountOf(account), now);
      if (verdict.mayExport) full.push(now.root);
      else if (verdict.isVisible) nodes.push(now.root);
    }
    return { full, nodes };
  }
}

/** Bytes of each object that some roots reach, by walking their maps from scratch. */
async function reachable(
  tenants: Tenants,
  { full, nodes }: { readonly full: readonly NodePointer[]; readonly nodes: readonly NodePointer[] },
): Promise<Map<string, Uint8Array>> {
  const load = nodeLoader(tenants.blocks);
  const found = new Map<string, Uint8Array>();
  const mark = async (key: string, offset: number, length: number): Promise<void> => {
    let marks = found.get(key);
    if (marks === undefined) {
      marks = new Uint8Array((await tenants.blocks.objects.head(key))?.sizeBytes ?? 0);
      found.set(key, marks);
    }
    marks.fill(1, offset, offset + length);
  };
  const walk = async (pointer: NodePointer, level: number, withFrames: boolean): Promise<void> => {
    await mark(pointer.key, pointer.offset, pointer.length);
    const node = await load(pointer);
    if (level > 0)
      for (const child of decodeInterior(node, pointer, level).values()) await walk(child, level - 1, withFrames);
    else if (withFrames)
      for (const { source, frame } of decodeLeaf(node, pointer)) {
        const entry = (await readSegmentIndex(tenants.blocks, source.key))?.frame(frame);
        if (entry !== undefined) await mark(source.key, entry.offset, entry.storedLength);
      }
  };
  for (const root of full) await walk(root, 3, true);
  for (const root of nodes) await walk(root, 3, false);
  return found;
}

it(
  'the bytes of others that an account reads are exactly those that were granted to it',
  { timeout: 240_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 12, maxLength: 30 }), async (steps) => {
        const tenants = await Tenants.start();
        const model = new Model(tenants);
        for (const first of EVERYBODY) await model.run({ kind: 'volume', who: first });
        for (const one of steps) await model.run(one);
        tenants.settle();
        const objects = await tenants.objects();
        for (const account of EVERYBODY) {
          const expected = await reachable(tenants, await model.rootsOf(account));
          const store = tenants.store(account);
          for (const [key, real] of objects) {
            const [folder, id] = key.split('/');
            const isData = /^(?:volumes\/[^/]+\/(?:log|map)\/|snapshots\/[^/]+\/map$)/.test(key);
            if (!isData) continue;
            const isOwn = model.owns(account, folder, id);
            const got = await store.get(key);
            if (isOwn) {
              expect(got?.bytes.equals(real), key).toBe(true);
              continue;
            }
            const marks = expected.get(key) ?? new Uint8Array(real.length);
            const isSegment = folder === 'volumes' && key.includes('/log/');
            // Behind the frames of a segment stands what the service itself tells of those that are granted.
            const end = isSegment
              ? ((await readSegmentIndex(tenants.blocks, key))?.footer.pageHashes.offset ?? 0)
              : real.length;
            for (let at = 0; at < end; at++) {
              const shown = got?.bytes[at] ?? 0;
              if (shown !== (marks[at] === 1 ? real[at] : 0))
                expect.fail(`byte ${String(at)} of ${key} for account ${String(account)}`);
            }
          }
        }
      }),
      { seed: SEED, numRuns: RUNS },
    );
  },
);
