/**
 * A small store of everything that format 1 has, every version of every object in it, and readers that say of each page
 * whether it is right, told as damaged, or, which must never be, wrong.
 */
import { decodeFrame } from '../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  Catalog,
  createSnapshot,
  createStore,
  LEAF_PAGES,
  openConsistentView,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  pagesOf,
  popcount16,
  type BlockStoreOptions,
  type KeyRing,
  type PageRun,
  type SnapshotEntry,
  type VolumeEntry,
  type VolumeView,
  type VolumeWriter,
  type Witness,
} from '../../src/core/blockstore/index.ts';
import { ExtentList, type HurtExtent } from '../../src/core/blockstore/scrub/index.ts';
import { beginStoreKey, newKeyFileText, parseKeyFile, unlockStore } from '../../src/core/blockstore/sealing/index.ts';
import { MIB, SgwError, seededRandom, type SnapshotId, type VolumeId } from '../../src/core/kit/index.ts';
import {
  bodyPieces,
  memoryStore,
  StoreLayer,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
} from '../../src/core/objectstore/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, otherHolder } from '../unit/blockstore/volume-model.ts';

/** What a home remembers, in memory. */
export class MemoryWitness implements Witness {
  readonly versions: Map<string, number>;

  constructor(versions: Iterable<readonly [string, number]> = []) {
    this.versions = new Map(versions);
  }

  newest(key: string): number | undefined {
    return this.versions.get(key);
  }

  saw(key: string, version: number): void {
    this.versions.set(key, Math.max(version, this.versions.get(key) ?? 0));
  }

  forget(key: string): void {
    this.versions.delete(key);
  }

  known(): Iterable<string> {
    return [...this.versions.keys()];
  }
}

/** Keeps every body that was ever stored under each key. */
class RecordingStore extends StoreLayer {
  readonly history = new Map<string, Buffer[]>();

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const result = await super.put(key, body, options);
    if (result.outcome === 'stored')
      this.history.set(key, [...(this.history.get(key) ?? []), Buffer.concat(bodyPieces(body))]);
    return result;
  }
}

export interface Subject {
  readonly kind: 'volume' | 'snapshot';
  readonly id: string;
}

/** What one state of a volume or snapshot reads as: the pages that are not zero. */
interface State {
  readonly sizeBytes: number;
  readonly pages: ReadonlyMap<number, Buffer>;
}

export interface Truth extends Subject {
  readonly sizeBytes: number;
  /** The newest, and of a volume the last consistent one where that is another. */
  readonly states: readonly State[];
}

/** What became of reading a subject. */
export interface Reading {
  /** What can't be read, merged. */
  readonly hurt: readonly HurtExtent[];
  /** What must never be: wrong data, or an error that is not `corrupt`. */
  readonly wrong: readonly string[];
}

export class DamagedStore {
  readonly objects: ReadonlyMap<string, Buffer>;
  /** Older versions of each object, the newest of them first. */
  readonly older: ReadonlyMap<string, readonly Buffer[]>;
  readonly truths: readonly Truth[];
  readonly #witness: MemoryWitness;
  readonly #unlock: (() => Promise<KeyRing>) | undefined;

  private constructor(
    objects: ReadonlyMap<string, Buffer>,
    older: ReadonlyMap<string, readonly Buffer[]>,
    truths: readonly Truth[],
    witness: MemoryWitness,
    unlock: (() => Promise<KeyRing>) | undefined,
  ) {
    this.objects = objects;
    this.older = older;
    this.truths = truths;
    this.#witness = witness;
    this.#unlock = unlock;
  }

  static async build(how: { readonly sealed?: boolean } = {}): Promise<DamagedStore> {
    const recording = new RecordingStore(memoryStore());
    const witness = new MemoryWitness();
    const plain = { ...optionsOver(recording, 11), witness };
    const info = await createStore(plain, how.sealed === true ? { keyId: ACCOUNT } : {});
    const secret = parseKeyFile(newKeyFileText(plain.random));
    if (how.sealed === true) await beginStoreKey(plain, info, secret);
    // Unlocked anew for each use: a ring remembers keys that it has opened.
    const unlock =
      how.sealed === true ? async () => await unlockStore({ objects: recording }, info, secret) : undefined;
    const options: BlockStoreOptions = unlock === undefined ? plain : { ...plain, keys: await unlock() };
    await fill(options);
    const objects = new Map<string, Buffer>();
    const older = new Map<string, Buffer[]>();
    for await (const { key } of recording.list('')) {
      const versions = recording.history.get(key) ?? [];
      objects.set(key, versions.at(-1) ?? Buffer.alloc(0));
      older.set(key, versions.slice(0, -1).reverse());
    }
    const truths: Truth[] = [];
    for (const subject of await subjectsOf(options)) truths.push(await truthOf(options, subject));
    return new DamagedStore(objects, older, truths, witness, unlock);
  }

  /** A copy of the store with some objects replaced; null: removed. */
  async copy(changes: ReadonlyMap<string, Buffer | null>, witnessed = true): Promise<BlockStoreOptions> {
    const objects: ObjectStore = memoryStore();
    for (const [key, body] of this.objects) {
      const changed = changes.get(key);
      if (changed !== null) await objects.put(key, changed ?? body);
    }
    return {
      ...optionsOver(objects, 12),
      ...(witnessed ? { witness: new MemoryWitness(this.#witness.versions) } : {}),
      ...(this.#unlock === undefined ? {} : { keys: await this.#unlock() }),
    };
  }

  /** What the newest state of a subject is as an image. */
  bytesOf({ states: [newest] }: Truth): Buffer {
    const image = Buffer.alloc(newest?.sizeBytes ?? 0);
    for (const [page, bytes] of newest?.pages ?? []) bytes.copy(image, page * PAGE_BYTES);
    return image;
  }

  async read(options: BlockStoreOptions, truth: Truth): Promise<Reading> {
    const hurt = new ExtentList();
    const wrong: string[] = [];
    for (const [i, state] of truth.states.entries()) {
      try {
        const view = await openState(options, truth, i);
        if (view.sizeBytes !== state.sizeBytes) wrong.push(`${truth.id} has ${String(view.sizeBytes)} bytes`);
        await compare(view, state, hurt, wrong);
      } catch (error) {
        if (isCorrupt(error)) hurt.add(0, state.sizeBytes);
        else wrong.push(`${truth.id}: ${String(error)}`);
      }
    }
    return { hurt: hurt.merged, wrong };
  }
}

const isCorrupt = (error: unknown): boolean => error instanceof SgwError && error.kind === 'corrupt';

/** Compares leaf by leaf and run by run, so that what is hurt is known to the page. */
async function compare(view: VolumeView, state: State, hurt: ExtentList, wrong: string[]): Promise<void> {
  const pages = pagesOf(state.sizeBytes);
  const note = (first: number, count: number): void => {
    hurt.add(first * PAGE_BYTES, Math.min(count * PAGE_BYTES, state.sizeBytes - first * PAGE_BYTES));
  };
  for (let first = 0; first < pages; first += LEAF_PAGES) {
    const left = new Set([...state.pages.keys()].filter((page) => page >= first && page < first + LEAF_PAGES));
    try {
      for (const run of await view.map.runsAround(first)) {
        const raw = await readRun(view, run).catch(undefinedIfCorrupt);
        if (raw === undefined) note(run.page, run.count);
        for (let i = 0; i < run.count; i++) left.delete(run.page + i);
        wrong.push(...wrongPages(state, run, raw));
      }
      for (const page of left) wrong.push(`page ${String(page)} is missing`);
    } catch (error) {
      if (!isCorrupt(error)) wrong.push(`pages from ${String(first)}: ${String(error)}`);
      note(first, LEAF_PAGES);
    }
  }
}

function undefinedIfCorrupt(error: unknown): undefined {
  if (!isCorrupt(error)) throw error;
  return undefined;
}

function wrongPages(state: State, run: PageRun, raw: Buffer | undefined): string[] {
  const pages = Array.from({ length: raw === undefined ? 0 : run.count }, (_, i) => i);
  const isWrong = (i: number): boolean =>
    raw?.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES).equals(expected(state, run.page + i)) === false;
  return pages.filter(isWrong).map((i) => `page ${String(run.page + i)} is wrong`);
}

const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);
const expected = (state: State, page: number): Buffer => state.pages.get(page) ?? ZERO_PAGE;

async function readRun(view: VolumeView, run: PageRun): Promise<Buffer> {
  const index = await view.segments.index(run.source);
  const entry = index.frame(run.frame);
  const stored = await view.segments.readSpan(run.source, entry.offset, entry.storedLength);
  const hashes = await view.segments.pageHashes(run.source);
  const from = entry.hashIndex * PAGE_HASH_BYTES;
  const own = hashes.subarray(from, from + popcount16(entry.mask) * PAGE_HASH_BYTES);
  const raw = decodeFrame(run.source.key, entry, stored, own, index.opening(run.frame));
  return raw.subarray(run.slot * PAGE_BYTES, (run.slot + run.count) * PAGE_BYTES);
}

async function subjectsOf(options: BlockStoreOptions): Promise<Subject[]> {
  const catalog = new Catalog(options);
  const volumes = await catalog.listVolumes({ includeDeleted: true });
  const snapshots = await catalog.listSnapshots();
  return [
    ...volumes.map(({ volumeId }) => ({ kind: 'volume' as const, id: volumeId })),
    ...snapshots.map(({ snapshotId }) => ({ kind: 'snapshot' as const, id: snapshotId })),
  ];
}

/** A subject's states, as a user comes to them: by its entry. */
export async function openState(options: BlockStoreOptions, { kind, id }: Subject, state: number): Promise<VolumeView> {
  const catalog = new Catalog(options);
  if (kind === 'snapshot') return openSnapshotView(options, await catalog.getSnapshot(id as SnapshotId));
  await catalog.getVolume(id as VolumeId);
  return state === 0
    ? await openVolumeView(options, id as VolumeId)
    : await openConsistentView(options, id as VolumeId);
}

async function truthOf(options: BlockStoreOptions, subject: Subject): Promise<Truth> {
  const views = [await openState(options, subject, 0)];
  if (subject.kind === 'volume') {
    const consistent = await openState(options, subject, 1);
    if (consistent.seq !== views[0]?.seq) views.push(consistent);
  }
  const states: State[] = [];
  for (const view of views) {
    const pages = new Map<number, Buffer>();
    for await (const { runs } of view.map.leaves()) {
      for (const run of runs) {
        const raw = await readRun(view, run);
        for (let i = 0; i < run.count; i++)
          pages.set(run.page + i, Buffer.from(raw.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES)));
      }
    }
    states.push({ sizeBytes: view.sizeBytes, pages });
  }
  return { ...subject, sizeBytes: states[0]?.sizeBytes ?? 0, states };
}

/** Commits a few pages of random data, or text, in each of the blocks. */
function writing(options: BlockStoreOptions) {
  let seed = 100;
  const commit = async (
    writer: VolumeWriter,
    blocks: readonly number[],
    more: { readonly unmap?: readonly [firstPage: number, pageCount: number]; readonly consistent?: boolean } = {},
  ): Promise<void> => {
    const image = Buffer.alloc(writer.sizeBytes);
    for (const block of blocks) {
      const random = seededRandom((seed += 1));
      random.bytes(PAGE_BYTES).copy(image, block * BLOCK_BYTES);
      const from = Math.min(block * BLOCK_BYTES + PAGE_BYTES, image.length);
      image.fill(`<${String(seed)}>`, from, Math.min(from + 2 * PAGE_BYTES, image.length));
    }
    const unmap = more.unmap === undefined ? [] : [{ firstPage: more.unmap[0], pageCount: more.unmap[1] }];
    await writer.commit({ encoded: [encodeBlocks(image, blocks)], unmap, consistent: more.consistent ?? true });
  };
  const open = async (volumeId: VolumeId): Promise<VolumeWriter> =>
    await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT });
  return { commit, open };
}

/**
 * Two volumes with checkpoints, one of them open; one in the midst of an import; one deleted; one empty; snapshots with and
 * without a map of their own, one deleted; and a clone.
 */
async function fill(options: BlockStoreOptions): Promise<void> {
  const catalog = new Catalog(options);
  const { commit, open } = writing(options);
  const snapshot = async (volume: VolumeEntry, name: string): Promise<SnapshotEntry> =>
    await createSnapshot(options, { volume, name, accountId: ACCOUNT });
  const volume = async (name: string, sizeBytes: number): Promise<VolumeEntry> =>
    await catalog.createVolume({ name, sizeBytes, accountId: ACCOUNT });

  const large = await volume('large', 9 * MIB + 3 * 1024);
  let writer = await open(large.volumeId);
  await commit(writer, [0, 1, 70]);
  await commit(writer, [2, 130, 144]);
  await writer.checkpoint();
  const first = await snapshot(large, 'first');
  await commit(writer, [1, 71], { unmap: [32, 2] });
  await snapshot(large, 'own-map');
  await writer.checkpoint();
  await commit(writer, [0, 140]);
  const doomed = await snapshot(large, 'doomed');
  await catalog.updateSnapshot(doomed.snapshotId, (now) => ({ ...now, state: 'deleted' }));
  await writer.close();
  writer = await open(large.volumeId);
  await commit(writer, [3]);
  await commit(writer, [4, 72]);
  await writer.abandon();
  writer = await openVolumeWriter(options, large.volumeId, { holder: otherHolder, accountId: ACCOUNT, takeOver: true });
  await commit(writer, [5]);
  await snapshot(large, 'newest');
  await writer.abandon();

  const clone = await catalog.createVolume({ name: 'clone', sizeBytes: 10 * MIB, accountId: ACCOUNT, from: first });
  writer = await open(clone.volumeId);
  await commit(writer, [0, 150]);
  await writer.close();
  await catalog.updateVolume(clone.volumeId, (now) => ({ ...now, name: 'clone-renamed' }));

  const small = await volume('small', MIB);
  writer = await open(small.volumeId);
  await commit(writer, [0, 5]);
  await commit(writer, [5, 6], { unmap: [0, 1] });
  await writer.resize(MIB / 2);
  await writer.close();
  await snapshot(small, 'of-small');

  const importing = await volume('importing', MIB);
  writer = await open(importing.volumeId);
  await commit(writer, [1]);
  await commit(writer, [1, 2], { consistent: false });
  await commit(writer, [3], { consistent: false });
  await writer.abandon();

  const gone = await volume('gone', MIB);
  writer = await open(gone.volumeId);
  await commit(writer, [9]);
  await writer.close();
  await catalog.updateVolume(gone.volumeId, (now) => ({ ...now, state: 'deleted', deletedAt: now.createdAt }));

  await volume('empty', MIB);
}
