/**
 * Copies a whole store to another place, as it is at one moment, beside writers and gc (docs/adr/0016-store-copy.md).
 *
 * A round reads the documents, the heads of volumes after all entries, and then lists the data and copies what is not there
 * yet, maps before logs: all that a document needs was in the store before the document was read, so the list has it, and
 * no map is of a state that the log in the copy does not come to. Only gc takes anything away, and nothing of what the
 * documents need as long as they are the newest; it changes `gc/condemned.json` before it does. So a round in which that did
 * not change has copied a state that the store had; after any other one there is another round, which copies what changed.
 *
 * States: the place is an unfinished copy from the first change on, and a store with the last: `sgw.json` is written in
 * the end. Until then nothing reads it, so the order within it does not matter, and a copy that was killed goes on by
 * comparing both places. Nothing is written to the source.
 */
import { SgwError, throwIfAborted, type Clock, type Random } from '../../kit/index.ts';
import type { ObjectInfo, ObjectStore } from '../../objectstore/index.ts';
import { isCorrupt, missing } from '../damage.ts';
import { keys, seqOfKey } from '../keys.ts';
import { parseMapObject } from '../map-object.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { epochOfSegment } from '../segment-parse.ts';
import { readStoreInfo } from '../store-info.ts';
import { boundedWork, HELD_BYTES_MAX, WEIGHT_MIN_BYTES, type BoundedWork } from './bounded-work.ts';
import { copyIfDifferent, copyObject, isCopied, type Copied, type Ends } from './copy-object.ts';
import { Findings, type Damage } from './findings.ts';
import { isLeftOut } from './left-out.ts';
import { CopyMarkKeeper } from './mark.ts';
import { merge, type Pair } from './merge.ts';
import { Tally } from './tally.ts';

/** gc may run again and again, but not that often. */
const ROUNDS_MAX = 32;
/** A round that took longer has copied what was, and is followed by one that copies what came since: at most so many. */
const LATE_MS = 10 * 60_000;
const LATE_ROUNDS_MAX = 2;

/** Folders of which each holds one thing with its documents. */
const ITEM_FOLDERS = ['snapshots', 'volumes'] as const;
/** Blocks that were written through the API: data of the snapshot whose id the folder has. */
const UPLOADS = 'uploads';
const DATA_FOLDERS: ReadonlySet<string> = new Set([...ITEM_FOLDERS, UPLOADS]);
/** The documents of an item but heads, its entry first: what is read before another one was there before it. */
const DOCUMENTS: Readonly<Record<(typeof ITEM_FOLDERS)[number], readonly string[]>> = {
  snapshots: ['snapshot.json'],
  volumes: ['volume.json', 'key.json'],
};
/** What entries name, accounts, and what tells of entries that are gone: read after them. */
const LATER_FOLDERS: ReadonlySet<string> = new Set(['gc', 'service']);

const isDocumentOfItem = (key: string): boolean => key.endsWith('.json');
const isOfLog = (key: string): boolean => seqOfKey(key)?.kind === 'log';

export interface CopyOptions {
  readonly from: ObjectStore;
  readonly to: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Asked when all is copied; a copy that is not finished then goes on by the same call. Throws to leave it so. */
  readonly beforeFinish: () => Promise<'finish' | 'leave'>;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface CopyReport {
  readonly storeId: string;
  readonly state: 'finished' | 'unfinished';
  /** When the state that was copied was read, by the clock here. */
  readonly asOfMs: number;
  readonly resumed: boolean;
  readonly rounds: number;
  /** In the copy now. */
  readonly objects: number;
  readonly bytes: number;
  /** Written by this call. */
  readonly copiedObjects: number;
  readonly copiedBytes: number;
  /** Of an earlier attempt, and not in the store any more. */
  readonly removedObjects: number;
  /** Objects that are as damaged in the copy as they are in the source. */
  readonly damage: readonly Damage[];
  /** Also of those that are too many for the list. */
  readonly damageCount: number;
}

/**
 * Copies; durable when it resolves.
 * @throws conflict `copy-finished`, `store-not-empty`, `copy-taken-over`; corrupt `copy-incomplete` naming objects that the
 * source can't give; unavailable `store-restless`, `copy-differs`; what `beforeFinish` and the stores throw
 */
export async function copyStore(options: CopyOptions): Promise<CopyReport> {
  return await new StoreCopy(options).run();
}

class StoreCopy {
  readonly #options: CopyOptions;
  readonly #ends: Ends;
  readonly #to: BlockStoreOptions;
  /**
   * Folders of things whose entry was there when this round read it, such as `volumes/vol-...`, and of a volume the epoch
   * of its head.
   */
  #items = new Map<string, number | undefined>();
  /** What is to be in the copy after this round. */
  #wanted = new Tally();
  #rounds = 0;
  #isResumed = false;
  readonly #copied = { objects: 0, bytes: 0, removed: 0 };
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(options: CopyOptions) {
    const { from, to, clock, random } = options;
    this.#options = options;
    this.#ends = { from, to, damage: new Findings(), unreadable: new Findings() };
    this.#to = { objects: to, clock, random };
  }

  get #call(): { readonly signal?: AbortSignal } {
    return withSignal(this.#options.signal);
  }

  async run(): Promise<CopyReport> {
    const { from, clock } = this.#options;
    const info = await readStoreInfo(from, this.#call);
    const description = await from.get(keys.store, this.#call);
    if (info === undefined || description === undefined) throw missing(keys.store);
    const mark = await CopyMarkKeeper.begin(this.#to, info, this.#options.signal);
    this.#isResumed = mark.isResumed;
    await this.#measure();
    let asOfMs = clock.nowMs();
    let lateRounds = 0;
    for (let isEnough = false; !isEnough;) {
      if (this.#rounds === ROUNDS_MAX) throw restless();
      await mark.requireOwn(this.#options.signal);
      asOfMs = clock.nowMs();
      const startedMs = clock.monotonicMs();
      const isWhole = await this.#round();
      const isLate = clock.monotonicMs() - startedMs > LATE_MS && lateRounds < LATE_ROUNDS_MAX;
      if (isWhole && isLate) lateRounds += 1;
      isEnough = isWhole && !isLate;
    }
    await mark.requireOwn(this.#options.signal);
    await this.#prove();
    const decision = await this.#options.beforeFinish();
    await mark.requireOwn(this.#options.signal);
    if (decision === 'finish') await mark.finish(description.bytes, this.#options.signal);
    return {
      storeId: info.storeId,
      state: decision === 'finish' ? 'finished' : 'unfinished',
      asOfMs,
      resumed: mark.isResumed,
      rounds: this.#rounds,
      objects: this.#wanted.objects,
      bytes: this.#wanted.bytes,
      copiedObjects: this.#copied.objects,
      copiedBytes: this.#copied.bytes,
      removedObjects: this.#copied.removed,
      damage: this.#ends.damage.list,
      damageCount: this.#ends.damage.count,
    };
  }

  /** How much there is, for progress. */
  async #measure(): Promise<void> {
    for await (const { key, sizeBytes } of this.#options.from.list('', this.#call))
      if (!isLeftOut(key)) this.#totalBytes += sizeBytes;
  }

  /** True when what was copied is a state that the store had. */
  async #round(): Promise<boolean> {
    this.#rounds += 1;
    this.#items = new Map();
    this.#wanted = new Tally();
    this.#ends.unreadable.clear();
    const before = await this.#condemned();
    await this.#copyOthers((folder) => !LATER_FOLDERS.has(folder));
    await this.#copyDocumentsOfItems();
    await this.#copyHeads();
    // What gc has purged is noted before it goes: read after the entries, it explains each that is not there.
    await this.#copyOthers((folder) => LATER_FOLDERS.has(folder));
    for (const folder of ITEM_FOLDERS) await this.#copyData(folder, (key) => !isOfLog(key));
    await this.#copyData(UPLOADS, () => true);
    await this.#copyData('volumes', isOfLog);
    return (await this.#condemned()) === before;
  }

  /** Another one when gc began to remove something. */
  async #condemned(): Promise<string | undefined> {
    return (await this.#options.from.get(keys.condemned, this.#call))?.bytes.toString('base64');
  }

  /** Documents that belong to no volume and no snapshot. */
  async #copyOthers(isWanted: (folder: string) => boolean): Promise<void> {
    const { from, to } = this.#options;
    const folders = new Set<string>();
    for (const store of [from, to]) for await (const folder of store.listFolders('', this.#call)) folders.add(folder);
    for (const folder of [...folders].sort()) {
      if (DATA_FOLDERS.has(folder) || !isWanted(folder)) continue;
      const prefix = `${folder}/`;
      const all = (): boolean => true;
      await this.#eachPair(prefix, all, async (pair, stop) => {
        const source = pair.from === undefined || isLeftOut(pair.key) ? undefined : pair.from;
        await this.#settle({ ...pair, from: source }, stop);
      });
    }
  }

  /**
   * The documents of all snapshots and volumes but heads, turn by turn until a turn finds no new ones: whatever a document
   * names was there before it was read, so it is found at the latest by the turn after.
   */
  async #copyDocumentsOfItems(): Promise<void> {
    const seen = new Set<string>();
    for (;;) {
      const fresh: string[] = [];
      for (const folder of ITEM_FOLDERS)
        for await (const id of this.#options.from.listFolders(`${folder}/`, this.#call))
          if (!seen.has(`${folder}/${id}`)) fresh.push(`${folder}/${id}`);
      if (fresh.length === 0) return;
      await this.#work(async (work) => {
        for (const item of fresh) {
          seen.add(item);
          await work.start(WEIGHT_MIN_BYTES, async (stop) => this.#copyDocumentsOf(item, stop));
        }
      });
    }
  }

  /** One whose entry is not there is still being created, or removed: the copy does without it. */
  async #copyDocumentsOf(item: string, signal: AbortSignal): Promise<void> {
    const folder = item.startsWith('volumes/') ? 'volumes' : 'snapshots';
    for (const name of DOCUMENTS[folder]) {
      const key = `${item}/${name}`;
      const copied = await this.#copyDocument(key, signal);
      if (copied === undefined && name === DOCUMENTS[folder][0] && !this.#ends.unreadable.has(key)) return;
      if (!this.#items.has(item)) this.#items.set(item, undefined);
      if (copied !== undefined) this.#wanted.add(key, copied.bytes.length);
    }
  }

  /** Once all entries were read, so that no snapshot is of a later epoch than the head of its volume. */
  async #copyHeads(): Promise<void> {
    await this.#work(async (work) => {
      for (const item of [...this.#items.keys()].filter((one) => one.startsWith('volumes/'))) {
        await work.start(WEIGHT_MIN_BYTES, async (stop) => {
          const key = `${item}/head.json`;
          const copied = await this.#copyDocument(key, stop);
          if (copied === undefined) return;
          this.#items.set(item, epochOfHead(copied.bytes));
          this.#wanted.add(key, copied.bytes.length);
        });
      }
    });
  }

  async #copyDocument(key: string, signal: AbortSignal): Promise<Copied | undefined> {
    const isFirst = this.#rounds === 1 && !this.#isResumed;
    const copied = isFirst
      ? await copyObject(this.#ends, key, undefined, signal)
      : await copyIfDifferent(this.#ends, key, signal);
    this.#count(copied);
    // Gone from the store since an earlier round, or attempt.
    const stale = copied === undefined && !isFirst ? await this.#options.to.head(key, { signal }) : undefined;
    if (stale !== undefined) await this.#remove(stale, signal);
    return copied;
  }

  /**
   * Maps or logs of the items; what the copy has and the store has not goes. Maps are listed first: a later one, beyond the
   * end of the log in the copy, would stand in the way of who goes on there.
   */
  async #copyData(folder: string, isWanted: (key: string) => boolean): Promise<void> {
    await this.#eachPair(`${folder}/`, isWanted, async (pair, stop) => {
      const [, id = ''] = pair.key.split('/', 2);
      const item = `${folder === UPLOADS ? 'snapshots' : folder}/${id}`;
      if (!this.#items.has(item)) {
        if (pair.to !== undefined) await this.#remove(pair.to, stop);
      } else if (!isDocumentOfItem(pair.key)) {
        await this.#settle(pair, stop, (bytes) => isOfEpoch(pair.key, bytes, this.#items.get(item)));
      }
    });
  }

  /** Makes the copy like the store under one key. */
  async #settle(pair: Pair, signal: AbortSignal, isWanted?: (bytes: Buffer) => boolean): Promise<void> {
    const { key, from: source, to: target } = pair;
    if (source === undefined) {
      if (target !== undefined) await this.#remove(target, signal);
      return;
    }
    if (target !== undefined && (await isCopied(this.#ends, pair, signal))) {
      this.#wanted.add(key, source.sizeBytes);
      return;
    }
    const copied = await copyObject(this.#ends, key, target, signal, isWanted);
    this.#count(copied);
    if (copied !== undefined) this.#wanted.add(key, copied.bytes.length);
    // It went between the list and the reading.
    else if (target !== undefined) await this.#remove(target, signal);
  }

  async #remove({ key, etag }: ObjectInfo, signal: AbortSignal): Promise<void> {
    if (await this.#options.to.delete(key, { ifMatch: etag, signal })) this.#copied.removed += 1;
  }

  #count(copied: Copied | undefined): void {
    if (copied?.isWritten !== true) return;
    this.#copied.objects += 1;
    this.#copied.bytes += copied.bytes.length;
  }

  async #eachPair(
    prefix: string,
    isWanted: (key: string) => boolean,
    work: (pair: Pair, stop: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { from, to, signal } = this.#options;
    await this.#work(async (pool) => {
      for await (const pair of merge(from.list(prefix, this.#call), to.list(prefix, this.#call))) {
        throwIfAborted(signal);
        if (!isWanted(pair.key)) continue;
        const sizeBytes = pair.from?.sizeBytes ?? 0;
        await pool.start(Math.max(WEIGHT_MIN_BYTES, sizeBytes), async (stop) => {
          await work(pair, stop);
          this.#tell(sizeBytes);
        });
      }
    });
  }

  #tell(bytes: number): void {
    // Later rounds go through all again, and copy little.
    if (this.#rounds > 1) return;
    this.#doneBytes += bytes;
    this.#options.onProgress?.(this.#doneBytes, Math.max(this.#doneBytes, this.#totalBytes));
  }

  async #work(begin: (work: BoundedWork) => Promise<void>): Promise<void> {
    await boundedWork(HELD_BYTES_MAX, this.#options.signal, begin);
  }

  /** @throws corrupt `copy-incomplete`; unavailable `copy-differs` unless the copy is exactly what it is to be */
  async #prove(): Promise<void> {
    const { unreadable } = this.#ends;
    if (unreadable.count > 0) throw incomplete(unreadable);
    const there = new Tally();
    for await (const { key, sizeBytes } of this.#options.to.list('', this.#call))
      if (key !== keys.copy) there.add(key, sizeBytes);
    if (there.equals(this.#wanted)) return;
    const { description } = this.#options.to;
    const counts = `${String(there.objects)} objects, ${String(there.bytes)} bytes`;
    const wanted = `${String(this.#wanted.objects)} objects, ${String(this.#wanted.bytes)} bytes`;
    throw new SgwError('unavailable', 'copy-differs', `${description} holds ${counts}, and ${wanted} were copied`, {
      hint: 'Somebody else writes there, or it lists what it should not. Run the same command again.',
      details: { store: description },
    });
  }
}

/** It is in clear in every store. Undefined where the head is damaged. */
function epochOfHead(bytes: Buffer): number | undefined {
  try {
    const { epoch } = JSON.parse(bytes.toString('utf8')) as { readonly epoch?: unknown };
    return typeof epoch === 'number' ? epoch : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether a segment or map of a volume is one that the head knows of. A head names an epoch before the log has it: what an
 * opening wrote since the head was read is left out, as if that opening had not come to it yet.
 */
function isOfEpoch(key: string, bytes: Buffer, epoch: number | undefined): boolean {
  const kind = seqOfKey(key)?.kind;
  if (epoch === undefined || kind === undefined) return true;
  try {
    return (kind === 'log' ? epochOfSegment(key, bytes) : parseMapObject(key, bytes).epoch) <= epoch;
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return true;
  }
}

function restless(): SgwError {
  return new SgwError('unavailable', 'store-restless', 'gc removes objects of the store faster than it can be copied', {
    hint: 'Run the same command again when gc does not run: it goes on.',
  });
}

function incomplete(unreadable: Findings): SgwError {
  const { count, list } = unreadable;
  const [first] = list;
  return new SgwError(
    'corrupt',
    'copy-incomplete',
    `${String(count)} object${count === 1 ? '' : 's'} of the store can not be read, ${first?.key ?? ''} for one: ${first?.message ?? ''}`,
    {
      hint: 'All else is copied. Put intact copies of these objects back, see `sgw store scrub`, then run the same command again: it goes on.',
      details: { keys: list.map(({ key }) => key) },
    },
  );
}
