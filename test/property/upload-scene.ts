/**
 * Servers that write snapshots through the API over one store, die at any request, and leave puts behind that come late; gc beside
 * them; and a client that asks again until it is answered. What every snapshot must read as is kept in plain arrays.
 */
import { createHash } from 'node:crypto';
import { BlockReader } from '../../src/core/blockstore/blocks/index.ts';
import {
  Catalog,
  createStore,
  openVolumeView,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
} from '../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../src/core/blockstore/gc/index.ts';
import { UploadStore, type UploadEntry } from '../../src/core/blockstore/uploads/index.ts';
import {
  seededRandom,
  SgwError,
  toSgwError,
  type Clock,
  type Random,
  type SnapshotId,
} from '../../src/core/kit/index.ts';
import {
  memoryStore,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
} from '../../src/core/objectstore/index.ts';
import { StoreLayer, type DeleteOptions } from '../../src/core/objectstore/layer.ts';

const BLOCK = 512 * 1024;
const BLOCKS = 12;
const ACCOUNTS = ['111111111111', '222222222222'] as const;
const HOUR = 60 * 60_000;
const NEVER = new AbortController().signal;
const TIMEOUT_MS = 60 * 60_000;
/** So that maps are made in several parts. */
const PART_BLOCKS = 3;

const died = (): SgwError => new SgwError('unavailable', 'server-died', 'this server is dead');

/** A server's way to the store; after so many requests it dies, and its last put may be applied, or come late, or never. */
class MortalStore extends StoreLayer {
  readonly #random: Random;
  readonly #late: (() => Promise<unknown>)[];
  readonly #slowTurns: number;
  #requestsLeft: number;

  constructor(
    below: ObjectStore,
    random: Random,
    late: (() => Promise<unknown>)[],
    requestsLeft: number,
    slowTurns = 0,
  ) {
    super(below);
    this.#random = random;
    this.#late = late;
    this.#requestsLeft = requestsLeft;
    this.#slowTurns = slowTurns;
  }

  /** True for the last request. */
  async #step(): Promise<boolean> {
    for (let turns = Math.floor(this.#random.float() * 4); turns > 0; turns--) await Promise.resolve();
    this.#requestsLeft -= 1;
    if (this.#requestsLeft < 0) throw died();
    return this.#requestsLeft === 0;
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    if (!(await this.#step())) {
      for (let turns = Math.floor(this.#random.float() * this.#slowTurns); turns > 0; turns--) await Promise.resolve();
      return await super.put(key, body, options);
    }
    const fate = this.#random.float();
    if (fate < 0.4) await super.put(key, body, options);
    else if (fate < 0.7) this.#late.push(async () => await super.put(key, body, options));
    throw died();
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    if (await this.#step()) throw died();
    return await super.get(key, options);
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    if (await this.#step()) throw died();
    return await super.head(key, options);
  }

  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    if (await this.#step()) throw died();
    yield* super.list(prefix, options);
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    if (await this.#step()) throw died();
    yield* super.listFolders(prefix, options);
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    const isLast = await this.#step();
    const result = await super.delete(key, options);
    if (isLast) throw died();
    return result;
  }
}

class SetClock implements Clock {
  ms = Date.UTC(2026, 0, 1);
  nowMs = (): number => this.ms;
  monotonicMs = (): number => this.ms;
  /** Time goes on for all of them. */
  sleep = async (ms: number): Promise<void> => {
    await Promise.resolve();
    this.ms += ms;
  };
}

/** What a client knows of a snapshot. */
export interface Told {
  readonly snapshotId: SnapshotId;
  readonly accountId: string;
  readonly token: string;
  state: 'open' | 'completed' | 'dead' | 'deleted';
  /** The value of each block; 0 is zeroes. */
  readonly values: number[];
  readonly creators: (string | null)[];
  readonly written: Map<number, number>;
  /** Was refused while the snapshot was being completed. */
  maybe?: { readonly block: number; readonly value: number };
}

interface Clone {
  readonly entry: VolumeEntry;
  readonly values: readonly number[];
}

export class UploadScene {
  readonly clock = new SetClock();
  readonly below: ObjectStore = memoryStore();
  readonly told: Told[] = [];
  readonly clones: Clone[] = [];
  readonly random: Random;
  /** How often each thing happened, so that a run that tried nothing shows. */
  readonly counts = { deaths: 0, late: 0, completed: 0, dead: 0, gc: 0, checked: 0, raced: 0 };
  readonly #late: (() => Promise<unknown>)[] = [];
  #value = 0;
  #tokens = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  async begin(): Promise<void> {
    await createStore(this.#whole());
  }

  #whole(): BlockStoreOptions {
    return { objects: this.below, clock: this.clock, random: seededRandom(this.#below(0xffff_ffff)) };
  }

  #below(n: number): number {
    return Math.floor(this.random.float() * n);
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.#below(items.length)];
  }

  /** A server that may die soon. */
  #mortal(): BlockStoreOptions {
    const requests = this.random.float() < 0.5 ? 1 + this.#below(14) : 10_000;
    return { ...this.#whole(), objects: new MortalStore(this.below, this.random, this.#late, requests) };
  }

  /** Asks one server after the other until one answers. */
  async #untilAnswered<T>(ask: (store: UploadStore) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask(new UploadStore(this.#mortal(), NEVER, PART_BLOCKS));
      } catch (error) {
        if (toSgwError(error).code !== 'server-died') throw error;
        this.counts.deaths += 1;
      }
    }
  }

  async step(): Promise<void> {
    const open = this.told.filter(({ state }) => state === 'open');
    const dice = this.random.float();
    if (open.length === 0 || dice < 0.12) await this.#start();
    else if (dice < 0.5) await this.#put(this.#pick(open));
    else if (dice < 0.62) await this.#complete(this.#pick(open));
    else if (dice < 0.74) await this.#gc();
    else if (dice < 0.8)
      await this.#late
        .shift()?.()
        .finally(() => (this.counts.late += 1));
    else if (dice < 0.86) await this.#delete();
    else if (dice < 0.9) await this.#clone();
    else if (dice < 0.93) await this.#waitTooLong();
    else await this.check();
  }

  async #start(): Promise<void> {
    // What is begun, and written to, while gc reads the roots.
    const beside = this.random.float() < 0.4 ? [this.#gc()] : [];
    await Promise.all([
      ...beside,
      this.#startOne().then(async (told) => {
        await this.#putOne(told, this.#below(BLOCKS));
      }),
    ]);
  }

  async #startOne(): Promise<Told> {
    const parent =
      this.random.float() < 0.6 ? this.#pick(this.told.filter(({ state }) => state === 'completed')) : undefined;
    const accountId = this.#pick(ACCOUNTS) ?? ACCOUNTS[0];
    const token = `token-${String(this.#tokens++)}`;
    const catalog = new Catalog(this.#whole());
    const entry = parent === undefined ? null : await catalog.getSnapshot(parent.snapshotId);
    const ask = async (store: UploadStore): Promise<UploadEntry> => {
      const wanted = {
        accountId,
        name: '',
        sizeBytes: BLOCKS * BLOCK,
        description: '',
        tags: {},
        timeoutMs: TIMEOUT_MS,
      };
      return (await store.start({ ...wanted, parent: entry, clientToken: token })).entry;
    };
    const [one, other] = await Promise.all([this.#untilAnswered(ask), this.#untilAnswered(ask)]);
    if (one.snapshotId !== other.snapshotId) throw new Error('one token began two snapshots');
    const told: Told = {
      snapshotId: one.snapshotId,
      accountId,
      token,
      state: 'open',
      values: [...(parent?.values ?? new Array<number>(BLOCKS).fill(0))],
      creators: [...(parent?.creators ?? new Array<string | null>(BLOCKS).fill(null))],
      written: new Map(),
    };
    this.told.push(told);
    return told;
  }

  /** Several blocks at once, by several servers, perhaps with gc beside them. */
  async #put(told: Told | undefined): Promise<void> {
    if (told === undefined) return;
    const blocks = [...new Set(Array.from({ length: 1 + this.#below(3) }, () => this.#below(BLOCKS)))];
    const beside = this.random.float() < 0.3 ? [this.#gc()] : [];
    await Promise.all([
      ...beside,
      ...blocks.map(async (block) => {
        await this.#putOne(told, block);
      }),
    ]);
  }

  async #putOne(told: Told, block: number): Promise<void> {
    let value = this.#newValue();
    await this.#untilAnswered(async (store) => {
      // A client may give up what it was writing, and write something else.
      if (this.random.float() < 0.2) value = this.#newValue();
      const bytes = bytesOf(value);
      await store.put(told.snapshotId, { block, bytes, sha256: sha256(bytes) });
    });
    told.values[block] = value;
    told.creators[block] = value === 0 ? null : told.accountId;
    told.written.set(block, value);
  }

  #newValue(): number {
    return this.random.float() < 0.15 ? 0 : ++this.#value;
  }

  /** By two servers at once, each of which may die. */
  async #complete(told: Told | undefined): Promise<void> {
    if (told === undefined) return;
    const ordered = [...told.written].sort(([a], [b]) => a - b).map(([, value]) => bytesOf(value));
    const digests = ordered.map((bytes) => createHash('sha256').update(bytes).digest());
    const checksum = createHash('sha256').update(Buffer.concat(digests)).digest('hex');
    const claim = { blocks: told.written.size, checksum: this.random.float() < 0.7 ? checksum : null };
    const turnsBefore = this.#below(400);
    const ask = async (): Promise<UploadEntry> =>
      await this.#untilAnswered(async (store) => {
        for (let turns = turnsBefore; turns > 0; turns--) await Promise.resolve();
        await store.seal(told.snapshotId, claim);
        return await store.build(told.snapshotId);
      });
    const beside = this.random.float() < 0.3 ? [this.#gc()] : [];
    // Only of a block that counts already, and where no checksum tells which of the two it is to be.
    const raced = claim.checksum === null ? this.#pick([...told.written.keys()]) : undefined;
    const race = raced === undefined ? [] : [this.#putInRace(told, raced)];
    const [one, other] = await Promise.all([ask(), ask(), ...race, ...beside]);
    for (const entry of [one, other])
      if (entry.state !== 'completed') throw new Error(`${told.snapshotId} is ${entry.state}: ${String(entry.reason)}`);
    if (JSON.stringify(one.root) !== JSON.stringify(other.root)) throw new Error('two roots');
    told.state = 'completed';
    this.counts.completed += 1;
    await this.#settleRace(told, one);
    await this.#checkSnapshot(told);
    await this.#refuseLatecomers(told);
  }

  /** While it is being completed: what is acknowledged is in it, and what is refused may be. */
  async #putInRace(told: Told, block: number): Promise<void> {
    const value = ++this.#value;
    const bytes = bytesOf(value);
    const slow = new MortalStore(this.below, this.random, this.#late, 10_000, 250);
    const store = new UploadStore({ ...this.#whole(), objects: slow }, NEVER);
    const outcome = await store.put(told.snapshotId, { block, bytes, sha256: sha256(bytes) }).then(
      () => 'acknowledged' as const,
      (error: unknown) => toSgwError(error).code,
    );
    if (outcome === 'acknowledged') {
      this.counts.raced += 1;
      told.values[block] = value;
      told.creators[block] = told.accountId;
    } else if (outcome === 'upload-not-open') told.maybe = { block, value };
    else throw new Error(`a block in the race was ${outcome}`);
  }

  async #settleRace(told: Told, { root }: UploadEntry): Promise<void> {
    const { maybe } = told;
    if (maybe === undefined) return;
    const read = await new BlockReader(this.#whole()).read(root, maybe.block);
    if (!read.bytes.equals(bytesOf(maybe.value))) return;
    told.values[maybe.block] = maybe.value;
    told.creators[maybe.block] = told.accountId;
  }

  async #refuseLatecomers(told: Told): Promise<void> {
    const store = new UploadStore(this.#whole(), NEVER);
    const bytes = bytesOf(999_999);
    const late = store.put(told.snapshotId, { block: 0, bytes, sha256: sha256(bytes) });
    const outcome = await late.then(
      () => 'stored',
      (error: unknown) => toSgwError(error).code,
    );
    if (outcome !== 'upload-not-open') throw new Error(`a late block was ${outcome}`);
  }

  async #gc(): Promise<void> {
    this.counts.gc += 1;
    const graceMs = this.random.float() < 0.5 ? 0 : HOUR;
    try {
      await collectGarbage(this.#mortal(), { graceMs });
    } catch (error) {
      const { code } = toSgwError(error);
      if (!['server-died', 'gc-contended'].includes(code)) throw error;
    }
    if (this.random.float() < 0.3) this.clock.ms += HOUR / 8;
  }

  async #delete(): Promise<void> {
    const told = this.#pick(this.told.filter(({ state }) => state === 'completed'));
    if (told === undefined) return;
    await new Catalog(this.#whole()).updateSnapshot(told.snapshotId, (now) => ({ ...now, state: 'deleted' }));
    told.state = 'deleted';
  }

  async #clone(): Promise<void> {
    const told = this.#pick(this.told.filter(({ state }) => state === 'completed'));
    if (told === undefined) return;
    const catalog = new Catalog(this.#whole());
    const from = await catalog.getSnapshot(told.snapshotId);
    const name = `clone-${String(this.clones.length)}`;
    const entry = await catalog.createVolume({ name, sizeBytes: from.sizeBytes, accountId: told.accountId, from });
    this.clones.push({ entry, values: [...told.values] });
  }

  /** Until nothing that is open can be written any more. */
  async #waitTooLong(): Promise<void> {
    this.clock.ms += 2 * TIMEOUT_MS;
    const store = new UploadStore(this.#whole(), NEVER);
    for (const told of this.told.filter(({ state }) => state === 'open')) {
      if (this.random.float() < 0.5) await store.expire(told.snapshotId);
      else await collectGarbage(this.#whole(), { graceMs: HOUR });
      const { state } = await new Catalog(this.#whole()).getSnapshot(told.snapshotId);
      if (state !== 'failed') throw new Error(`${told.snapshotId} is ${state} after its deadline`);
      told.state = 'dead';
      this.counts.dead += 1;
    }
  }

  /** Everything reads as it must. */
  async check(): Promise<void> {
    for (const told of this.told) if (told.state === 'completed') await this.#checkSnapshot(told);
    for (const { entry, values } of this.clones) {
      const head = await new Catalog(this.#whole()).headOf(entry.volumeId);
      await openVolumeView(this.#whole(), entry.volumeId);
      await this.#checkBlocks(head.checkpoint.root, values, entry.name);
    }
  }

  async #checkSnapshot(told: Told): Promise<void> {
    const entry = await new Catalog(this.#whole()).getSnapshot(told.snapshotId);
    await this.#checkBlocks(entry.root, told.values, told.snapshotId);
    const creators = [...new Set(told.creators.filter((creator) => creator !== null))].sort();
    if (JSON.stringify(entry.creators) !== JSON.stringify(creators)) throw new Error(`creators of ${told.snapshotId}`);
    this.counts.checked += 1;
  }

  async #checkBlocks(root: SnapshotEntry['root'], values: readonly number[], what: string): Promise<void> {
    const reader = new BlockReader(this.#whole());
    for (const [block, value] of values.entries())
      if (!(await reader.read(root, block)).bytes.equals(bytesOf(value)))
        throw new Error(`block ${String(block)} of ${what}`);
    const written = await Array.fromAsync(reader.written(root, 0));
    const wanted = values.flatMap((value, block) => (value === 0 ? [] : [block]));
    if (JSON.stringify(written) !== JSON.stringify(wanted)) throw new Error(`what is written of ${what}`);
  }

  /** Ends everything; then nothing may be left but what gc remembers. */
  async end(): Promise<string[]> {
    for (const late of this.#late.splice(0)) await late();
    await this.check();
    this.clock.ms += 2 * TIMEOUT_MS;
    const catalog = new Catalog(this.#whole());
    for (const { snapshotId } of await catalog.listSnapshots())
      await catalog.updateSnapshot(snapshotId, (now) =>
        now.state === 'completed' ? { ...now, state: 'deleted' } : now,
      );
    const deletedAt = new Date(this.clock.ms).toISOString();
    for (const { volumeId } of await catalog.listVolumes())
      await catalog.updateVolume(volumeId, (now) => ({ ...now, state: 'deleted', deletedAt }));
    this.clock.ms += 8 * 24 * HOUR;
    for (let run = 0; run < 4; run++) await collectGarbage(this.#whole(), { graceMs: 0 });
    const left: string[] = [];
    for await (const { key } of this.below.list('')) if (!/^(?:gc\/|sgw\.json$)/.test(key)) left.push(key);
    return left;
  }
}

const made = new Map<number, Buffer>();

/** A block with two pages that are no other value's, and zeroes. */
function bytesOf(value: number): Buffer {
  const known = made.get(value);
  if (known !== undefined) return known;
  const bytes = Buffer.alloc(BLOCK);
  if (value !== 0) {
    bytes.write(`<${String(value)}>`, (value % 128) * 4096);
    bytes.write(`<${String(value)} again>`, ((value * 7) % 128) * 4096 + 100);
  }
  if (made.size > 200) made.clear();
  made.set(value, bytes);
  return bytes;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
