/** `schedule set`, `show` and `remove`. Only `set` needs the store. */
import { minuteOfDay, SgwError, toSgwError, type ErrorKind } from '../../kit/index.ts';
import type { CallContext, Input, ScheduleDocument, ScheduleList, ScheduleRemoved } from '../../localapi/index.ts';
import type { ScheduleState, VerifyingState } from '../../state/index.ts';
import type { GatewayParts } from '../parts.ts';
import { resolveVolume } from '../references.ts';
import type { Session } from '../session.ts';
import { changeSchedule, readSchedules, type Schedules } from './book.ts';
import { scheduleDocument, scheduleDocuments, type SchedulePhases } from './documents.ts';
import { owedSlot, slotAt, type Pace } from './slots.ts';

const DAY_MS = 24 * 60 * 60_000;

/** What the schedules of a home stand on. */
export interface ScheduleSources {
  readonly parts: GatewayParts;
  readonly openSession: () => Promise<Session>;
  /** Undefined where no daemon runs them. */
  readonly runner: (SchedulePhases & { changed(): void }) | undefined;
}

/**
 * Sets what is given, and leaves the rest as it is; the first run is at the next slot. Durable when it resolves.
 * @throws invalid `schedule-incomplete`, `bad-schedule`; notFound `volume-not-found`
 */
export async function setSchedule(
  { parts, openSession, runner }: ScheduleSources,
  input: Input<'schedule.set'>,
  call: CallContext,
): Promise<ScheduleDocument> {
  const session = await openSession();
  const { volumeId, name } = await resolveVolume(session.catalog, input.volume, call.signal);
  const nowMs = parts.clock.nowMs();
  const scheduleId = `sched-${parts.random.bytes(8).toString('hex')}`;
  const schedule = await changeSchedule(
    parts.home,
    volumeId,
    (now, gateway) => {
      const pace = paceOf(input, now, name);
      gateway.configurationVersion += 1;
      const { accountId } = session.identity;
      const keep = input.keep === undefined ? (now?.keep ?? null) : input.keep;
      const begun: Begun = now ?? { scheduleId, setAt: iso(nowMs), runs: 0, last: null, failure: null };
      const verify = verifyOf(input.verify, now?.verify, nowMs);
      const { verify: _, ...rest } = begun;
      const verifying = verify === undefined ? {} : { verify };
      return {
        ...rest,
        ...verifying,
        volumeName: name,
        accountId,
        ...pace,
        keep,
        doneSlot: iso(doneSlotOf(pace, now, nowMs)),
      };
    },
    call,
  );
  runner?.changed();
  if (schedule === undefined) throw noSchedule(name);
  return scheduleDocument(volumeId, schedule, nowMs, runner);
}

type Begun = Pick<ScheduleState, 'scheduleId' | 'setAt' | 'runs' | 'last' | 'failure' | 'verify'>;

const NEVER_VERIFIED = { share: 0.05, command: null, timeoutMs: 60 * 60_000, last: null, lastOkAt: null };

/** The first verification is owed at once. */
function verifyOf(
  wanted: Input<'schedule.set'>['verify'],
  now: VerifyingState | undefined,
  nowMs: number,
): VerifyingState | undefined {
  if (wanted === undefined) return now;
  if (wanted === null) return undefined;
  const everyMs = wanted.everyMs ?? now?.everyMs;
  if (everyMs === undefined)
    throw new SgwError('invalid', 'schedule-incomplete', 'how often snapshots are verified is missing', {
      hint: 'Add --verify, such as --verify weekly.',
    });
  const owed = iso(slotAt({ everyMs, atMinute: null }, nowMs) - everyMs);
  const before: VerifyingState = now ?? { ...NEVER_VERIFIED, everyMs, doneSlot: owed, failure: null };
  const { share = before.share, command = before.command, timeoutMs = before.timeoutMs } = wanted;
  return { ...before, everyMs, share, command, timeoutMs, failure: null };
}

/** Another pace begins at its next slot, unless a run is owed already. */
function doneSlotOf(pace: Pace, now: ScheduleState | undefined, nowMs: number): number {
  if (now === undefined) return slotAt(pace, nowMs);
  const doneMs = Date.parse(now.doneSlot);
  const isSame = now.everyMs === pace.everyMs && now.atMinute === pace.atMinute;
  return isSame || owedSlot(now, doneMs, nowMs) !== undefined ? doneMs : slotAt(pace, nowMs);
}

function paceOf(input: Input<'schedule.set'>, now: ScheduleState | undefined, name: string): Pace {
  const everyMs = input.everyMs ?? now?.everyMs;
  if (everyMs === undefined)
    throw new SgwError(
      'invalid',
      'schedule-incomplete',
      `volume "${name}" has no schedule yet: how often it runs is missing`,
      {
        hint: 'Add --every, such as --every 4h.',
      },
    );
  const { at = now?.atMinute ?? null } = input;
  const atMinute = typeof at === 'string' ? minuteOfDay(at) : at;
  if (atMinute === null || everyMs % DAY_MS === 0 || DAY_MS % everyMs === 0) return { everyMs, atMinute };
  throw new SgwError(
    'invalid',
    'bad-schedule',
    'a time of the day is for schedules of whole days, or of parts of one',
    {
      hint: 'Give --every with whole days, or with what divides a day, such as 4h, or --at none.',
    },
  );
}

/** All schedules, or that of one volume, also of one that was deleted. @throws notFound `schedule-not-found` */
export async function showSchedules(
  sources: ScheduleSources,
  input: Input<'schedule.show'>,
  call: CallContext,
): Promise<ScheduleList> {
  const { parts, runner } = sources;
  const schedules = await readSchedules(parts.home);
  const shown =
    input.volume === undefined ? schedules : Object.fromEntries([await find(sources, schedules, input.volume, call)]);
  return { schedules: scheduleDocuments(shown, parts.clock.nowMs(), runner) };
}

/** From now on no snapshots are made, and none that it made is deleted. @throws notFound `schedule-not-found` */
export async function removeSchedule(
  sources: ScheduleSources,
  input: Input<'schedule.remove'>,
  call: CallContext,
): Promise<ScheduleRemoved> {
  const { parts, runner } = sources;
  try {
    const [volumeId, { volumeName }] = await find(sources, await readSchedules(parts.home), input.volume, call);
    await changeSchedule(
      parts.home,
      volumeId,
      (_now, gateway) => {
        gateway.configurationVersion += 1;
        return undefined;
      },
      call,
    );
    runner?.changed();
    return { volumeId, name: volumeName, removed: true };
  } catch (error) {
    if (input.ifExists !== true || toSgwError(error).kind !== 'notFound') throw error;
    return { volumeId: null, name: null, removed: false };
  }
}

/** With these the store can't tell, and what is written down must do. */
const UNTOLD_KINDS: ReadonlySet<ErrorKind> = new Set(['notFound', 'unavailable', 'timeout', 'denied']);

/** By the volume's id, by what it is called now, or by what it was called. */
async function find(
  { openSession }: ScheduleSources,
  schedules: Schedules,
  ref: string,
  call: CallContext,
): Promise<[string, ScheduleState]> {
  const entries = Object.entries(schedules);
  const byId = entries.find(([volumeId]) => volumeId === ref.toLowerCase());
  if (byId !== undefined) return byId;
  if (entries.length === 0) throw noSchedule(ref);
  let volumeId: string | undefined;
  try {
    const session = await openSession();
    ({ volumeId } = await resolveVolume(session.catalog, ref, call.signal));
  } catch (error) {
    const failure = toSgwError(error);
    const called = entries.filter(([, { volumeName }]) => volumeName === ref);
    if (!UNTOLD_KINDS.has(failure.kind) || called[0] === undefined || called.length > 1) throw failure;
    return called[0];
  }
  const found = schedules[volumeId];
  if (found === undefined) throw noSchedule(ref);
  return [volumeId, found];
}

const noSchedule = (ref: string): SgwError =>
  new SgwError('notFound', 'schedule-not-found', `volume "${ref}" has no schedule`, {
    hint: '`sgw schedule show` shows those that there are; `sgw schedule set` makes one.',
    details: { ref },
  });

const iso = (atMs: number): string => new Date(atMs).toISOString();
