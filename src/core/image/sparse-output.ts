/**
 * A raw image being written: sparse, resumable, under a hidden name until it is whole.
 *
 * States: writing -> finished | abandoned | discarded. Invariants:
 * - The partial file has its full size from the start and is created empty, so what was never written reads as
 *   zeroes: writers leave zero pages out.
 * - The completed watermark is durable only after every byte below it is. Work resumed at the watermark may find
 *   later bytes of the same image above it, written before a kill; since the resume key names something that never
 *   changes (a snapshot), they are rewritten with the same bytes or are right already.
 * - After a failed sync the output takes no more checkpoints: the kernel reports lost writes only once.
 */
import { constants } from 'node:fs';
import { lstat, open, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert, throwIfAborted } from '../kit/index.ts';
import { fileError, ifPresent, naming } from './file-errors.ts';
import { readPartialState, removeState, statePath, writePartialState } from './partial-state.ts';
import { claimTarget, syncDirectory, type ClaimedTarget } from './target.ts';
import type { SystemCalls } from './system-calls.ts';

export interface SparseOutputOptions {
  readonly sizeBytes: number;
  /** Names the immutable thing that is written, such as a snapshot's id. A partial file of another key is dropped. */
  readonly resumeKey: string;
  /** Replace an existing file. Default false. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  /** In place of the machine's own; undefined stands for a machine that has none. */
  readonly systemCalls?: SystemCalls | undefined;
}

/** An output in progress. Ends with `finish`, `abandon` or `discard`; disposing abandons. */
export interface SparseOutput {
  readonly finalPath: string;
  /** The file that is being written, for workers with descriptors of their own. They write only, never truncate. */
  readonly partialPath: string;
  readonly sizeBytes: number;
  /** Bytes that an earlier process completed: writing goes on from here. 0 for a fresh file. */
  readonly resumedFrom: number;
  /** False where the system has no file locks: then what `abandon` leaves is removed instead of kept. */
  readonly resumable: boolean;
  /** Writes all of `buffer` at `offset`. Not durable until `checkpoint` or `finish`. Calls may overlap in time. */
  write(buffer: Uint8Array, offset: number): Promise<void>;
  /**
   * Vouches that every byte below `watermark` has been written, by whichever descriptor. Durable on return.
   * Watermarks do not go back; a lower one is taken as the last.
   */
  checkpoint(watermark: number): Promise<void>;
  /**
   * Syncs everything and gives the file its final name. Durable on return.
   * @throws conflict `file-exists`; the output can then still be abandoned, keeping its work.
   */
  finish(): Promise<void>;
  /** Closes, keeping the partial file for a later resume. Idempotent, harmless after `finish`. */
  abandon(): Promise<void>;
  /** Closes and removes the partial file. Idempotent, harmless after `finish`. */
  discard(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts, or goes on with, the raw image at `finalPath`. Checks everything that can be refused beforehand.
 * @throws what `claimTarget` throws; exhausted when the file system does not take files of this size; aborted.
 */
export async function createSparseOutput(finalPath: string, options: SparseOutputOptions): Promise<SparseOutput> {
  throwIfAborted(options.signal);
  assert(
    Number.isSafeInteger(options.sizeBytes) && options.sizeBytes >= 0,
    `an image has ${String(options.sizeBytes)} bytes`,
  );
  const claim = await claimTarget(finalPath, {
    suffix: 'sgw-partial',
    force: options.force ?? false,
    ...('systemCalls' in options ? { systemCalls: options.systemCalls } : {}),
  });
  let handle: FileHandle | undefined;
  try {
    handle = await openPartial(claim.temporaryPath);
    const resumedFrom = await resumeOrStart(claim, handle, options);
    return new PartialOutput(claim, handle, options, resumedFrom);
  } catch (error) {
    await handle?.close();
    await claim.close();
    throw error;
  }
}

const stateOf = (claim: ClaimedTarget): string => statePath(claim.temporaryPath);
const inodeOf = async (handle: FileHandle): Promise<string> => String((await handle.stat({ bigint: true })).ino);

/**
 * Opens or creates the partial file. One with a second name was published just before a crash: it is the final file,
 * and not to be written again. One that is not ours or a link was put there by somebody else.
 */
async function openPartial(path: string): Promise<FileHandle> {
  return naming(path, async () => {
    const found = await ifPresent(lstat(path));
    const isOurs = found?.isFile() === true && found.nlink === 1 && found.uid === (process.geteuid?.() ?? found.uid);
    if (found !== undefined && !isOurs) await unlink(path);
    return open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW);
  });
}

async function resumeOrStart(claim: ClaimedTarget, handle: FileHandle, options: SparseOutputOptions): Promise<number> {
  const state = await readPartialState(stateOf(claim));
  const facts = await handle.stat({ bigint: true });
  const isOurs =
    state?.resumeKey === options.resumeKey &&
    state.sizeBytes === options.sizeBytes &&
    state.inode === String(facts.ino) &&
    Number(facts.size) === options.sizeBytes;
  if (isOurs) return state.completedBytes;
  await naming(claim.temporaryPath, async () => {
    await removeState(claim.temporaryPath);
    await syncDirectory(dirname(claim.temporaryPath));
    await handle.truncate(0);
    try {
      await handle.truncate(options.sizeBytes);
    } catch (error) {
      await claim.remove();
      throw error;
    }
  });
  return 0;
}

class PartialOutput implements SparseOutput {
  readonly finalPath: string;
  readonly partialPath: string;
  readonly sizeBytes: number;
  readonly resumedFrom: number;
  readonly resumable: boolean;
  readonly #claim: ClaimedTarget;
  readonly #handle: FileHandle;
  readonly #resumeKey: string;
  readonly #signal: AbortSignal | undefined;
  #watermark: number;
  #checkpoints: Promise<void> = Promise.resolve();
  #ending: Promise<void> | undefined;

  constructor(claim: ClaimedTarget, handle: FileHandle, options: SparseOutputOptions, resumedFrom: number) {
    this.#claim = claim;
    this.#handle = handle;
    this.#resumeKey = options.resumeKey;
    this.#signal = options.signal;
    this.#watermark = resumedFrom;
    this.finalPath = claim.finalPath;
    this.partialPath = claim.temporaryPath;
    this.sizeBytes = options.sizeBytes;
    this.resumedFrom = resumedFrom;
    this.resumable = claim.resumable;
  }

  async write(buffer: Uint8Array, offset: number): Promise<void> {
    this.#assertWriting();
    assert(
      offset >= 0 && offset + buffer.length <= this.sizeBytes,
      `a write at ${String(offset)} lies within the image`,
    );
    for (let done = 0; done < buffer.length;) {
      throwIfAborted(this.#signal);
      const { bytesWritten } = await naming(this.partialPath, () =>
        this.#handle.write(buffer, done, buffer.length - done, offset + done),
      );
      done += bytesWritten;
    }
  }

  async checkpoint(watermark: number): Promise<void> {
    this.#assertWriting();
    assert(watermark <= this.sizeBytes, `a watermark of ${String(watermark)} lies within the image`);
    this.#checkpoints = this.#checkpoints.then(() => this.#advance(watermark));
    await this.#checkpoints;
  }

  async finish(): Promise<void> {
    await this.checkpoint(this.sizeBytes);
    throwIfAborted(this.#signal);
    await naming(this.partialPath, () => this.#handle.sync());
    await this.#claim.publish();
    await this.#end(() => removeState(this.#claim.temporaryPath));
  }

  async abandon(): Promise<void> {
    await this.#end(async () => {
      if (!this.resumable) await this.#claim.remove();
    });
  }

  async discard(): Promise<void> {
    await this.#end(async () => {
      await removeState(this.#claim.temporaryPath);
      await this.#claim.remove();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }

  async #advance(watermark: number): Promise<void> {
    if (watermark <= this.#watermark && watermark < this.sizeBytes) return;
    await naming(this.partialPath, () => this.#handle.datasync());
    this.#watermark = Math.max(watermark, this.#watermark);
    if (!this.resumable) return;
    await writePartialState(stateOf(this.#claim), {
      resumeKey: this.#resumeKey,
      sizeBytes: this.sizeBytes,
      inode: await inodeOf(this.#handle),
      completedBytes: this.#watermark,
    });
  }

  /** Runs `last` once, with the claim still held, then lets go of everything. */
  async #end(last: () => Promise<void>): Promise<void> {
    this.#ending ??= (async () => {
      try {
        await this.#checkpoints.catch(() => undefined);
        await last();
      } catch (error) {
        throw fileError(error, this.partialPath);
      } finally {
        await this.#handle.close();
        await this.#claim.close();
      }
    })();
    await this.#ending;
  }

  #assertWriting(): void {
    assert(this.#ending === undefined, `the output ${this.finalPath} is used before its end`);
  }
}
