/**
 * `copy.json` in the place that a store is copied to (docs/formats/documents.md): of which store, how far, and by which
 * attempt. A place with it and without `sgw.json` is an unfinished copy, which no gateway opens.
 *
 * The attempt that began last is the only one that goes on: each looks before it changes what is there.
 */
import { SgwError, toSgwError } from '../../kit/index.ts';
import { changeDocument, createDocument, readDocument } from '../documents.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { readStoreInfo, type StoreInfo } from '../store-info.ts';
import { isLeftOut } from './left-out.ts';

interface CopyMark {
  readonly storeId: string;
  /** 12 random bytes, hex: of the attempt that goes on. */
  readonly attemptId: string;
  readonly startedAt: string;
  /** Null until it is whole. */
  readonly finishedAt: string | null;
}

/** The copying of one store to `to.objects`, by one attempt. */
export class CopyMarkKeeper {
  readonly #to: BlockStoreOptions;
  readonly #attemptId: string;
  /** Whether an earlier attempt had begun. */
  readonly isResumed: boolean;

  private constructor(to: BlockStoreOptions, attemptId: string, isResumed: boolean) {
    this.#to = to;
    this.#attemptId = attemptId;
    this.isResumed = isResumed;
  }

  /**
   * Takes the place for a copy of this store. Changes nothing where it throws.
   * @throws conflict `copy-finished` when it is there already, `store-not-empty` when the place holds anything else
   */
  static async begin(to: BlockStoreOptions, info: StoreInfo, signal?: AbortSignal): Promise<CopyMarkKeeper> {
    const isResumed = await requireFree(to, info, signal);
    const attemptId = to.random.bytes(12).toString('hex');
    const now = new Date(to.clock.nowMs()).toISOString();
    const mark: CopyMark = { storeId: info.storeId, attemptId, startedAt: now, finishedAt: null };
    if (!isResumed && !(await createDocument(to, keys.copy, mark, signal))) throw takenOver(to);
    if (isResumed)
      await changeDocument<CopyMark>(to, keys.copy, (now) => ({ ...now, attemptId, finishedAt: null }), signal);
    const keeper = new CopyMarkKeeper(to, attemptId, isResumed);
    // The attempt before may have finished meanwhile.
    await keeper.requireOwn(signal);
    return keeper;
  }

  /** @throws conflict `copy-taken-over` when another attempt began since, or finished the copy */
  async requireOwn(signal?: AbortSignal): Promise<void> {
    await this.#requireAttempt(signal);
    if ((await this.#to.objects.head(keys.store, withSignal(signal))) !== undefined) throw takenOver(this.#to);
  }

  async #requireAttempt(signal: AbortSignal | undefined): Promise<void> {
    const mark = await readDocument<CopyMark>(this.#to, keys.copy, signal);
    if (mark?.value.attemptId !== this.#attemptId) throw takenOver(this.#to);
  }

  /**
   * Makes the copy a store: its description last of all. Durable when it resolves.
   * @throws conflict `copy-taken-over`; then it is no store by this attempt
   */
  async finish(description: Buffer, signal?: AbortSignal): Promise<void> {
    const finishedAt = new Date(this.#to.clock.nowMs()).toISOString();
    const finish = (mark: CopyMark): CopyMark => {
      if (mark.attemptId !== this.#attemptId) throw takenOver(this.#to);
      return { ...mark, finishedAt };
    };
    await changeDocument<CopyMark>(this.#to, keys.copy, finish, signal);
    const condition = { ifAbsent: true } as const;
    await this.#to.objects.put(keys.store, description, { condition, ...withSignal(signal) });
    const there = await this.#to.objects.get(keys.store, withSignal(signal));
    if (there?.bytes.equals(description) !== true) throw takenOver(this.#to);
    try {
      // One that began before the description was there goes on, and has changed what is not proven any more.
      await this.#requireAttempt(signal);
    } catch (error) {
      if (toSgwError(error).code === 'copy-taken-over')
        await this.#to.objects.delete(keys.store, { ifMatch: there.etag, ...withSignal(signal) });
      throw error;
    }
  }
}

/**
 * Whether the place is an unfinished copy of the store; false of an empty one. Changes nothing.
 * @throws conflict `copy-finished`, `store-not-empty`
 */
export async function requireFree(
  to: BlockStoreOptions,
  { storeId }: StoreInfo,
  signal?: AbortSignal,
): Promise<boolean> {
  const there = await readStoreInfo(to.objects, withSignal(signal));
  const mark = (await readDocument<CopyMark>(to, keys.copy, signal))?.value;
  if (there?.storeId === storeId && mark?.storeId === storeId) throw finished(to, storeId);
  if (there !== undefined) throw notEmpty(to, `the store ${there.storeId}`);
  if (mark?.storeId === storeId) return true;
  if (mark !== undefined) throw notEmpty(to, `an unfinished copy of ${mark.storeId}`);
  for await (const { key } of to.objects.list('', withSignal(signal)))
    if (!isLeftOut(key)) throw notEmpty(to, `${key} and perhaps more`);
  return false;
}

function finished({ objects }: BlockStoreOptions, storeId: string): SgwError {
  return new SgwError('conflict', 'copy-finished', `${objects.description} is a finished copy of ${storeId}`, {
    hint: 'Compare the two with --verify-only, or name another place.',
    details: { store: objects.description, storeId },
  });
}

function notEmpty({ objects }: BlockStoreOptions, what: string): SgwError {
  return new SgwError('conflict', 'store-not-empty', `${objects.description} is not empty: it holds ${what}`, {
    hint: 'Name an empty place, or one that an earlier copy of the same store left unfinished.',
    details: { store: objects.description },
  });
}

function takenOver({ objects }: BlockStoreOptions): SgwError {
  return new SgwError('conflict', 'copy-taken-over', `another command copies to ${objects.description} now`, {
    hint: 'Let that one end. If none runs, run this one again: it goes on where it was.',
    details: { store: objects.description },
  });
}
