/**
 * Pins: roots of their own for work that reads for long (C10): `pins/<id>.json`. A pin holds until its deadline, which
 * whoever made it moves on while the work goes on; one whose maker was killed ends by itself.
 */
import { SgwError, toSgwError } from '../../kit/index.ts';
import { changeDocument, createDocument, readDocument, type Stored } from '../documents.ts';
import { keys } from '../keys.ts';
import type { NodePointer } from '../node-codec.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';

/** How long a pin holds without being renewed. Clocks of gateways that share a store may differ by half of it. */
const HOLD_MS = 60 * 60_000;
const RENEW_MS = 15 * 60_000;

/** Keys that pins take turns at: in a directory, an object that was removed leaves a trace. */
const PLACES = 4096;
const PLACES_TRIED = 64;

interface PinDocument {
  /** Tells it from others that had its place before or after it. */
  readonly pinId: string;
  readonly purpose: string;
  readonly holder: string;
  readonly deadline: string;
  readonly roots: readonly NodePointer[];
  /** Objects that the pin keeps beside the trees below its roots. */
  readonly objects: readonly string[];
}

export interface Pin {
  readonly key: string;
  readonly document: Stored<PinDocument>;
}

export interface PinRequest {
  /** What it is for, and who works: for people. */
  readonly purpose: string;
  readonly holder: string;
  readonly roots: readonly (NodePointer | null)[];
  /** Keys of objects to keep beside the trees below the roots. */
  readonly objects?: readonly string[];
  /** Looks once more, now that the pin is there, whether what it pins is still a root elsewhere. Throws when it is not. */
  readonly check: () => Promise<void>;
  /** Told that there is no pin, since the store takes no writes. */
  readonly onUnpinned?: () => void;
}

/** Kinds of failures to create a pin after which the work goes on without one, as safe as the grace period makes it. */
const UNPINNED_KINDS: ReadonlySet<string> = new Set(['denied', 'readOnly', 'exhausted']);

/**
 * Runs `work` while what it reads is pinned; where the store takes no writes, without a pin. The signal that `work` is given fires when the pin is lost.
 * @throws what `check` and `work` throw; unavailable `pin-lost`
 */
export async function withPin<T>(
  options: BlockStoreOptions,
  request: PinRequest,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const { purpose, holder, roots, objects = [] } = request;
  const pinned = roots.filter((root) => root !== null);
  const pinId = options.random.bytes(12).toString('hex');
  const pin = { pinId, purpose, holder, deadline: deadlineFrom(options), roots: pinned, objects };
  let key: string;
  try {
    key = await place(options, pin, signal);
  } catch (error) {
    if (!UNPINNED_KINDS.has(toSgwError(error).kind)) throw error;
    request.onUnpinned?.();
    return await work(signal ?? new AbortController().signal);
  }
  const lost = new AbortController();
  const ended = new AbortController();
  const renewing = renew(options, key, pinId, ended.signal).catch((error: unknown) => {
    if (!ended.signal.aborted) lost.abort(toSgwError(error));
  });
  try {
    await request.check();
    return await work(signal === undefined ? lost.signal : AbortSignal.any([signal, lost.signal]));
  } finally {
    ended.abort();
    await renewing;
    // One that stays ends by itself.
    await remove(options, key, pinId).catch(() => undefined);
  }
}

/** Stores a pin where none is. Returns its key. @throws unavailable `pins-many` */
async function place(options: BlockStoreOptions, pin: PinDocument, signal?: AbortSignal): Promise<string> {
  for (let attempt = 0; attempt < PLACES_TRIED; attempt++) {
    const number = Math.floor(options.random.float() * PLACES);
    const key = `${keys.pins}${number.toString(16).padStart(3, '0')}.json`;
    if (await createDocument(options, key, pin, signal)) return key;
  }
  throw new SgwError('unavailable', 'pins-many', 'too many exports and verifications are at work on this store', {
    hint: 'Try again; `sgw store gc` takes away what those that were killed left behind.',
  });
}

/** Removes the pin, unless its place has another by now. */
async function remove(options: BlockStoreOptions, key: string, pinId: string): Promise<void> {
  const now = await readDocument<PinDocument>(options, key);
  if (now?.value.pinId === pinId) await options.objects.delete(key, { ifMatch: now.etag });
}

const deadlineFrom = ({ clock }: BlockStoreOptions): string => new Date(clock.nowMs() + HOLD_MS).toISOString();

/** Moves the deadline on until the signal fires. */
async function renew(options: BlockStoreOptions, key: string, pinId: string, signal: AbortSignal): Promise<void> {
  let heldUntilMs = options.clock.nowMs() + HOLD_MS;
  for (;;) {
    await options.clock.sleep(RENEW_MS, signal);
    try {
      const deadline = deadlineFrom(options);
      const moveOn = (pin: PinDocument): PinDocument => {
        if (pin.pinId !== pinId) throw pinLost(key, undefined);
        return { ...pin, deadline };
      };
      await changeDocument<PinDocument>(options, key, moveOn, signal);
      heldUntilMs = Date.parse(deadline);
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.code === 'pin-lost') throw failure;
      // A store that is away for a while does not end the pin; it ends itself.
      if (failure.kind !== 'unavailable' && failure.kind !== 'timeout') throw pinLost(key, error);
      if (options.clock.nowMs() + RENEW_MS > heldUntilMs) throw pinLost(key, error);
    }
  }
}

function pinLost(key: string, cause: unknown): SgwError {
  return new SgwError('unavailable', 'pin-lost', `pin ${key}, which kept what is being read, is gone`, {
    hint: 'Run the command again.',
    details: { key },
    cause,
  });
}

/** Every pin whose time is not over. */
export async function readPins(options: BlockStoreOptions, signal?: AbortSignal): Promise<Pin[]> {
  const pins = await readAllPins(options, signal);
  const nowMs = options.clock.nowMs();
  return pins.filter((pin) => !isOver(pin, nowMs));
}

const isOver = ({ document }: Pin, nowMs: number): boolean => Date.parse(document.value.deadline) <= nowMs;

async function readAllPins(options: BlockStoreOptions, signal?: AbortSignal): Promise<Pin[]> {
  const pins: Pin[] = [];
  for await (const { key } of options.objects.list(keys.pins, withSignal(signal))) {
    const document = await readDocument<PinDocument>(options, key, signal);
    if (document !== undefined) pins.push({ key, document });
  }
  return pins;
}

/** Removes the pins whose time is over, each only as it was read. */
export async function removeEndedPins(options: BlockStoreOptions, signal?: AbortSignal): Promise<void> {
  const nowMs = options.clock.nowMs();
  for (const pin of await readAllPins(options, signal)) {
    if (!isOver(pin, nowMs)) continue;
    try {
      await options.objects.delete(pin.key, { ifMatch: pin.document.etag, ...withSignal(signal) });
    } catch (error) {
      // Renewed after all.
      if (toSgwError(error).kind !== 'conflict') throw error;
    }
  }
}
