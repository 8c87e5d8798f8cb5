/**
 * Verifies the newest snapshot of volumes at the pace that their schedules say, one at a time over all volumes. The first is
 * owed at once, or as soon as there is a snapshot. One that a death interrupts is owed still.
 */
import type { SgwError } from '../../../kit/index.ts';
import { Semaphore, toSgwError, type Clock } from '../../../kit/index.ts';
import type { CallContext } from '../../../localapi/index.ts';
import type { ScheduleState, VerifyingState } from '../../../state/index.ts';
import type { Session } from '../../session.ts';
import { failureToNote, noteSchedule } from '../book.ts';
import { Job } from '../job.ts';
import { mendedSlot, nextSlot, owedSlot, slotAt, type Pace } from '../slots.ts';
import { newestSnapshot, verifySnapshotOf } from './verify.ts';

export interface VerifierOptions {
  readonly home: string;
  readonly clock: Clock;
  readonly openSession: (accountId: string, call: CallContext) => Promise<Session>;
  readonly onVerified: (volumeId: string, name: string, ok: boolean, message: string | null) => void;
  readonly onFailure: (volumeId: string, failure: SgwError, retryInMs: number) => void;
  /** Something may be due. */
  readonly lookAgain: () => void;
}

/** Whoever makes a snapshot here calls `retryNow`; another gateway may have made one. */
const NONE_MS = 60 * 60_000;
/** Until what is in a snapshot has got to the store. */
const PENDING_MS = 60_000;

const paceOf = ({ everyMs }: VerifyingState): Pace => ({ everyMs, atMinute: null });

export class Verifier {
  readonly #options: VerifierOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #turns = new Semaphore(1);

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  isRunning(volumeId: string): boolean {
    return this.#jobs.get(volumeId)?.isRunning === true;
  }

  /** There is a snapshot, or what stood in the way may be gone. */
  retryNow(volumeId?: string): void {
    for (const [id, job] of this.#jobs) if (volumeId === undefined || volumeId === id) job.retryNow();
  }

  async ended(): Promise<void> {
    await Promise.all([...this.#jobs.values()].map(async (job) => job.ended));
  }

  /** Begins what is due for a volume. Returns how long nothing is, in milliseconds. */
  look(volumeId: string, schedule: ScheduleState, call: CallContext): number {
    const { verify } = schedule;
    if (verify === undefined) return Number.POSITIVE_INFINITY;
    const { clock, lookAgain } = this.#options;
    const job = this.#jobs.get(volumeId) ?? new Job(clock);
    this.#jobs.set(volumeId, job);
    if (job.isRunning) return Number.POSITIVE_INFINITY;
    if (job.retryInMs > 0) return job.retryInMs;
    const nowMs = clock.nowMs();
    const doneMs = Date.parse(verify.doneSlot);
    const pace = paceOf(verify);
    // A slot of a time that has not come was run by a clock that was wrong.
    const isAhead = mendedSlot(pace, doneMs, nowMs) !== doneMs;
    const slotMs = isAhead ? slotAt(pace, nowMs) : owedSlot(pace, doneMs, nowMs);
    if (slotMs === undefined) return nextSlot(pace, doneMs, nowMs) - nowMs;
    job.begin(
      async () => this.#verify(volumeId, schedule, verify, slotMs, job, call),
      async (error) => this.#onFailure(volumeId, schedule, verify, job, toSgwError(error), call),
      lookAgain,
    );
    return Number.POSITIVE_INFINITY;
  }

  async #verify(
    volumeId: string,
    { accountId, scheduleId }: ScheduleState,
    verify: VerifyingState,
    slotMs: number,
    job: Job,
    call: CallContext,
  ): Promise<void> {
    const { home, openSession, onVerified } = this.#options;
    const release = await this.#turns.acquire(1, call.signal);
    try {
      const session = await openSession(accountId, call);
      const newest = await newestSnapshot(session, volumeId, call);
      if (newest === undefined || newest === 'pending') {
        job.rest(newest === undefined ? NONE_MS : PENDING_MS);
        return;
      }
      const last = await verifySnapshotOf(session, newest, verify, call);
      const doneSlot = new Date(slotMs).toISOString();
      const lastOkAt = last.ok ? last.at : verify.lastOkAt;
      const done = { last, lastOkAt, doneSlot, failure: null };
      await noteSchedule(home, volumeId, scheduleId, (now) => withVerify(now, done), call);
      onVerified(volumeId, newest.name, last.ok, last.message);
    } finally {
      release();
    }
  }

  async #onFailure(
    volumeId: string,
    { scheduleId }: ScheduleState,
    { everyMs }: VerifyingState,
    job: Job,
    error: SgwError,
    call: CallContext,
  ): Promise<void> {
    if (call.signal.aborted) return;
    const { home, clock, onFailure } = this.#options;
    onFailure(volumeId, error, job.failed(error, everyMs));
    const nowMs = clock.nowMs();
    const note = (now: ScheduleState): ScheduleState =>
      withVerify(now, { failure: failureToNote(now.verify?.failure ?? null, error, nowMs) });
    await noteSchedule(home, volumeId, scheduleId, note, call).catch(() => undefined);
  }
}

const withVerify = (now: ScheduleState, change: Partial<VerifyingState>): ScheduleState =>
  now.verify === undefined ? now : { ...now, verify: { ...now.verify, ...change } };
