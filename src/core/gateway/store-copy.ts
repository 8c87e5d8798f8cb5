/** Copying a store to another place, and comparing the two. No home, no gateway and no key is needed. */
import { realpath } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { Catalog, readStoreInfo, type BlockStoreOptions, type StoreInfo } from '../blockstore/index.ts';
import { compareStores, copyStore, openVolumes, requireFree, type CopyReport } from '../blockstore/copy/index.ts';
import { SgwError, shellWord, toSgwError } from '../kit/index.ts';
import type { CallContext, Input, StoreCopyDocument } from '../localapi/index.ts';
import { isS3Url, parseS3Place, type ObjectStore } from '../objectstore/index.ts';
import type { GatewayParts } from './parts.ts';
import { noStore } from './reading/open-store.ts';
import { requireWholeStore } from './store-place.ts';
import { requireFit } from './store-probe.ts';

/** Volumes that a message names. */
const NAMED_MAX = 5;

type Wish = Input<'store.copy'>;

/**
 * Copies the store `from` to `to`, or compares them. Durable when it resolves.
 * @throws invalid `same-store`; conflict `volumes-held` unless `allowHeld`, `copy-finished`, `store-not-empty`,
 * `copy-taken-over`, `other-store`; unsupported `store-unfit`, `store-of-service`; notFound `store-missing`; corrupt `copy-incomplete`
 */
export async function copyStores(parts: GatewayParts, input: Wish, call: CallContext): Promise<StoreCopyDocument> {
  for (const place of [input.from, input.to]) requireWholeStore(place, 'copying a store');
  await requireApart(input.from, input.to);
  const from = await parts.openStore(input.from, { create: false });
  try {
    const info = await readStoreInfo(from, { signal: call.signal });
    if (info === undefined) throw await noStore(from, call.signal);
    const to = await parts.openStore(input.to, { create: input.verifyOnly !== true });
    try {
      return await new Copying(parts, input, from, to, call).run(info);
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

class Copying {
  readonly #parts: GatewayParts;
  readonly #input: Wish;
  readonly #from: ObjectStore;
  readonly #to: ObjectStore;
  readonly #call: CallContext;
  readonly #startedMs: number;
  /** What is known of volumes that somebody has open, for remarks. */
  #held: Held = { isKnown: true, names: [] };

  constructor(parts: GatewayParts, input: Wish, from: ObjectStore, to: ObjectStore, call: CallContext) {
    this.#parts = parts;
    this.#input = input;
    this.#from = from;
    this.#to = to;
    this.#call = call;
    this.#startedMs = parts.clock.monotonicMs();
  }

  async run(info: StoreInfo): Promise<StoreCopyDocument> {
    return this.#input.verifyOnly === true ? await this.#compare() : await this.#copy(info);
  }

  async #compare(): Promise<StoreCopyDocument> {
    const { signal } = this.#call;
    const asOf = this.#parts.clock.nowMs();
    const onProgress = this.#telling('comparing');
    const found = await compareStores({ from: this.#from, to: this.#to, signal, onProgress });
    const { objects, bytes, differences, differenceCount } = found;
    const remarks =
      differenceCount === 0
        ? []
        : [
            `${String(differenceCount)} objects differ. Where a gateway has written to one of the two since, they are to.`,
          ];
    const counts = { objects, bytes, copiedObjects: 0, copiedBytes: 0, removedObjects: 0 };
    return this.#document({
      storeId: found.storeId,
      state: 'compared',
      asOf,
      resumed: false,
      ...counts,
      damage: [...differences],
      remarks,
    });
  }

  async #copy(info: StoreInfo): Promise<StoreCopyDocument> {
    const { clock, random } = this.#parts;
    const { signal } = this.#call;
    const { prepare = false } = this.#input;
    const target = { objects: this.#to, clock, random };
    await requireFree(target, info, signal);
    const source = await this.#unlocked({ objects: this.#from, clock, random }, info);
    if (!prepare) await this.#requireNotHeld(source, BEFORE);
    await requireFit({ ...target, signal }, this.#input.to);
    const report = await copyStore({
      from: this.#from,
      to: this.#to,
      clock,
      random,
      signal,
      onProgress: this.#telling('copying'),
      beforeFinish: async () => {
        if (prepare) return 'leave';
        await this.#requireNotHeld(source, AFTER);
        return 'finish';
      },
    });
    const { asOfMs, damage, damageCount: _damageCount, rounds: _rounds, ...rest } = report;
    return this.#document({ ...rest, asOf: asOfMs, damage: [...damage], remarks: this.#remarks(report) });
  }

  #document(
    found: Omit<StoreCopyDocument, 'from' | 'to' | 'asOf' | 'durationMs'> & { readonly asOf: number },
  ): StoreCopyDocument {
    const { clock } = this.#parts;
    return {
      ...found,
      from: this.#from.description,
      to: this.#to.description,
      asOf: new Date(found.asOf).toISOString(),
      durationMs: Math.max(0, Math.round(clock.monotonicMs() - this.#startedMs)),
    };
  }

  #telling(doing: string): (doneBytes: number, totalBytes: number) => void {
    const label = `${doing} ${this.#from.description}`;
    return (doneBytes, totalBytes) => {
      this.#call.onProgress({ label, doneBytes, totalBytes });
    };
  }

  #remarks({ state, storeId, damageCount, resumed }: CopyReport): string[] {
    const to = shellWord(this.#input.to);
    const damaged = [
      ...(damageCount === 0
        ? []
        : [
            `${String(damageCount)} object${damageCount === 1 ? ' is' : 's are'} damaged in the store, and copied as found: sgw store scrub says who is hurt.`,
          ]),
      ...(resumed
        ? ['What an earlier run copied was checked then, and its damage named then: --verify-only reads all.']
        : []),
    ];
    if (state === 'unfinished') {
      return [
        'The copy is not finished, and no gateway can open it: stop the gateways that write, then run the same command without --prepare. It copies only what changed.',
        ...damaged,
      ];
    }
    return [
      `Two places hold ${storeId} now, and only one of them may be written from here on. To move to the new one: sgw configure --store ${to} in each home, and let no gateway write to the old one any more.`,
      ...this.#heldRemark(),
      ...damaged,
    ];
  }

  #heldRemark(): string[] {
    if (!this.#held.isKnown)
      return [
        'Whether a gateway has volumes open is not known without the key: what it had not uploaded is not in the copy.',
      ];
    if (this.#held.names.length === 0) return [];
    return [
      `Open in a gateway while this was copied: ${named(this.#held.names)}. What that had not uploaded is not in the copy, nor what it wrote after.`,
    ];
  }

  /** With the key where it was given: holders are sealed. */
  async #unlocked(shut: BlockStoreOptions, info: StoreInfo): Promise<BlockStoreOptions | undefined> {
    if (info.keyDerivation === null) return shut;
    const { openKeys } = await import('./key-source.ts');
    try {
      return { ...shut, keys: await openKeys(shut, this.#call) };
    } catch (error) {
      if (toSgwError(error).code !== 'key-missing') throw error;
      return undefined;
    }
  }

  /** @throws conflict `volumes-held` */
  async #requireNotHeld(source: BlockStoreOptions | undefined, hint: string): Promise<void> {
    const held: Held = source === undefined ? { isKnown: false, names: [] } : await readHeld(source, this.#call.signal);
    this.#held = { isKnown: held.isKnown, names: [...new Set([...this.#held.names, ...held.names])] };
    if (this.#input.allowHeld === true || (held.isKnown && held.names.length === 0)) return;
    const what = held.isKnown
      ? `open in a gateway, or not closed by one that was killed: ${named(held.names)}`
      : 'whether a gateway has volumes of the encrypted store open can not be known without its key';
    throw new SgwError('conflict', 'volumes-held', what, {
      hint: held.isKnown ? hint : UNKNOWN,
      details: { volumes: held.names },
    });
  }
}

interface Held {
  readonly isKnown: boolean;
  /** As people know them. */
  readonly names: readonly string[];
}

const BEFORE =
  'Stop these gateways first: sgw gateway stop. To copy while they write, and the rest later: --prepare. To copy what is in the store at one moment: --yes.';
const AFTER =
  'All is copied, and the copy not finished. Stop these gateways and run the same command again, which copies only what changed; or add --yes to take what is in the store now.';
const UNKNOWN =
  'Give the key, with --key-file for instance. To copy what is there, and finish later: --prepare. To copy what is in the store at one moment: --yes.';

async function readHeld(source: BlockStoreOptions, signal: AbortSignal): Promise<Held> {
  const catalog = new Catalog(source);
  const names: string[] = [];
  for (const { volumeId, holder } of await openVolumes(source, signal)) {
    const name = await catalog.getVolume(volumeId, signal).then(
      (entry) => entry.name,
      () => volumeId,
    );
    names.push(`${name} (in ${holder.name} since ${holder.since})`);
  }
  return { isKnown: true, names };
}

const named = (names: readonly string[]): string =>
  names.length > NAMED_MAX
    ? `${names.slice(0, NAMED_MAX).join(', ')} and ${String(names.length - NAMED_MAX)} more`
    : names.join(', ');

/** A store inside the other one would be copied into itself. @throws invalid `same-store` */
async function requireApart(from: string, to: string): Promise<void> {
  const [a, b] = await Promise.all([spotOf(from), spotOf(to)]);
  if (a.server !== b.server || !(isInside(a.path, b.path) || isInside(b.path, a.path))) return;
  throw new SgwError('invalid', 'same-store', `${to} is the same place as ${from}, or one is inside the other`, {
    hint: 'Name another place to copy to.',
  });
}

async function spotOf(place: string): Promise<{ readonly server: string; readonly path: string }> {
  if (!isS3Url(place)) return { server: '', path: await realPlace(resolve(place)) };
  const { endpoint = '', bucket, prefix } = parseS3Place(place);
  return { server: `${endpoint} ${bucket}`, path: `/${prefix}` };
}

const isInside = (path: string, folder: string): boolean => {
  const way = relative(folder, path);
  return way === '' || !(way === '..' || way.startsWith('../'));
};

/** Of a path that may not be there yet. */
async function realPlace(path: string): Promise<string> {
  const parent = dirname(path);
  return await realpath(path).catch(async () =>
    parent === path ? path : join(await realPlace(parent), relative(parent, path)),
  );
}
