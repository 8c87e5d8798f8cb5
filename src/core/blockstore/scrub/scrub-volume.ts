/** Whether a volume can be read, as it is now and as it was consistent last; and whether its log is whole (C1, C2). */
import { SgwError, type VolumeId } from '../../kit/index.ts';
import { isCorrupt, missing } from '../damage.ts';
import { readDocument } from '../documents.ts';
import type { VolumeEntry } from '../entries.ts';
import { readPurged } from '../gc/purged.ts';
import { COMMIT_WINDOW } from '../geometry.ts';
import { readHead, type Head } from '../head.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { openConsistentView, openVolumeView, type VolumeView } from '../volume-view.ts';
import { DamageLedger, type Subject } from './ledger.ts';
import { scrubRecoveryPoints } from './scrub-recovery.ts';
import { attempt, sizeInMaps, untilSettled } from './settle.ts';
import { walkView, type WalkState } from './walk-view.ts';

/** Missing places of one log that are named. */
const GAPS_MAX = 1000;

/** What is wrong with a volume; `interrupted` when only the beginning of one is there, which is no damage. */
export async function scrubVolume(
  options: BlockStoreOptions,
  state: WalkState,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<{ readonly ledger: DamageLedger; readonly interrupted: boolean }> {
  let interrupted = false;
  const roots = [keys.volume(volumeId), keys.head(volumeId)];
  const ledger = await untilSettled(options, roots, signal, async () => {
    const found = new DamageLedger();
    interrupted = (await examine(options, state, volumeId, found, signal)) === 'interrupted';
    return found;
  });
  return { ledger, interrupted };
}

type Outcome = 'examined' | 'interrupted' | 'gone';

async function examine(
  options: BlockStoreOptions,
  state: WalkState,
  volumeId: VolumeId,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<Outcome> {
  const faults: SgwError[] = [];
  const stored = await attempt(faults, () => readDocument<VolumeEntry>(options, keys.volume(volumeId), signal));
  const entry = stored?.value;
  if (entry === undefined && faults.length === 0) {
    const fault = await withoutEntry(options, volumeId, signal);
    if (typeof fault === 'string') return fault;
    faults.push(fault);
  }
  if (entry?.state === 'purging') return 'gone';
  const head = (await attempt(faults, () => readHead(options, volumeId, signal)))?.value;
  const view = await attempt(faults, () => openVolumeView(options, volumeId, withSignal(signal)));
  const name = entry?.name ?? '?';
  const sizeBytes = view?.sizeBytes ?? (await sizeWithoutView(options, volumeId, { entry, head }, signal));
  const subject: Subject = { kind: 'volume', id: volumeId, name, sizeBytes };
  for (const fault of faults) ledger.hurtWhole(fault, subject);
  if (options.keys !== undefined) await checkKey(options, volumeId, ledger, signal);
  if (view !== undefined) await walk(state, view, subject, ledger, signal);
  if (head !== undefined) {
    await walkConsistent(options, state, subject, view, ledger, signal);
    await scrubRecoveryPoints(options, state, volumeId, head, ledger, signal);
    await checkLog(options, subject, head, ledger, signal);
  }
  return 'examined';
}

/** What it means that there is no entry: damage where something needs it. */
async function withoutEntry(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<SgwError | 'interrupted' | 'gone'> {
  if (!(await hasData(options, volumeId, signal))) {
    const head = await options.objects.head(keys.head(volumeId), withSignal(signal));
    return head === undefined ? 'gone' : 'interrupted';
  }
  // Something may have come late to a volume that gc has purged.
  const purged = await attempt([], () => readPurged(options, signal));
  return purged?.volumes.has(volumeId) === true ? 'gone' : missing(keys.volume(volumeId));
}

async function sizeWithoutView(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  { entry, head }: { readonly entry: VolumeEntry | undefined; readonly head: Head | undefined },
  signal?: AbortSignal,
): Promise<number> {
  if (head !== undefined) return head.checkpoint.sizeBytes;
  const inMaps = await sizeInMaps(options, `volumes/${volumeId}/map/`, volumeId, signal);
  return inMaps ?? entry?.sizeBytes ?? 0;
}

async function checkLog(
  options: BlockStoreOptions,
  subject: Subject,
  head: Head,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<void> {
  for (const { fault, isCommitted } of await logGaps(options, subject.id as VolumeId, head, signal)) {
    ledger.note(fault);
    if (isCommitted) ledger.hurtWhole(fault, subject);
  }
}

/** Without it nothing can be written any more, and of what was written nothing read: the walks tell what. */
async function checkKey(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<void> {
  const key = keys.volumeKey(volumeId);
  if ((await options.objects.head(key, withSignal(signal))) === undefined) ledger.note(missing(key));
}

async function walk(
  state: WalkState,
  view: VolumeView,
  subject: Subject,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<void> {
  const onHurt = (error: SgwError, firstPage: number, pageCount: number): void => {
    ledger.hurtPages(error, subject, firstPage, pageCount);
  };
  await walkView(state, view, onHurt, withSignal(signal));
}

/** The state that a snapshot would show, where it is another than the newest. */
async function walkConsistent(
  options: BlockStoreOptions,
  state: WalkState,
  subject: Subject,
  newest: VolumeView | undefined,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<void> {
  try {
    const view = await openConsistentView(options, subject.id as VolumeId, withSignal(signal));
    if (view.seq === newest?.seq) return;
    await walk(state, view, { ...subject, sizeBytes: Math.max(subject.sizeBytes, view.sizeBytes) }, ledger, signal);
  } catch (error) {
    if (isCorrupt(error)) ledger.hurtWhole(error, subject);
    else if (!(error instanceof SgwError) || error.code !== 'import-unfinished') throw error;
  }
}

async function hasData(options: BlockStoreOptions, volumeId: VolumeId, signal?: AbortSignal): Promise<boolean> {
  for (const part of ['log', 'map']) {
    const prefix = `volumes/${volumeId}/${part}/`;
    for await (const _ of options.objects.list(prefix, { limit: 1, ...withSignal(signal) })) return true;
  }
  return false;
}

interface Gap {
  readonly fault: SgwError;
  /** True when data after it was committed that no checkpoint has. */
  readonly isCommitted: boolean;
}

/**
 * Places of the log where an object has to be, and is not. Below the checkpoint that is every place (C2). Above it, the
 * last commits of a writer that was killed may stand behind a hole; but no further behind than the window of its commits.
 * A list that was made while the log grew may lack what is there, so each place is asked for once more.
 */
async function logGaps(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  { checkpoint }: Head,
  signal?: AbortSignal,
): Promise<Gap[]> {
  const gaps: Gap[] = [];
  let firstAbove: number | undefined;
  let next = 1;
  const lookUpTo = async (end: number): Promise<void> => {
    for (; next < end && firstAbove === undefined && gaps.length < GAPS_MAX; next++) {
      const key = keys.log(volumeId, next);
      if ((await options.objects.head(key, withSignal(signal))) !== undefined) continue;
      if (next > checkpoint.seq) firstAbove = next;
      else gaps.push({ fault: missing(key), isCommitted: false });
    }
  };
  for await (const { key } of options.objects.list(`${keys.logOf(volumeId)}/`, withSignal(signal))) {
    const seq = Number.parseInt(key.slice(-16), 16);
    await lookUpTo(seq);
    if (firstAbove !== undefined && seq >= firstAbove + COMMIT_WINDOW) {
      gaps.push({ fault: missing(keys.log(volumeId, firstAbove)), isCommitted: true });
      return gaps;
    }
    next = seq + 1;
  }
  await lookUpTo(checkpoint.seq + 1);
  return gaps;
}
