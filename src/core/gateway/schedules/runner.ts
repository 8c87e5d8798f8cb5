/**
 * Runs the schedules of a gateway's volumes, for as long as its daemon does.
 *
 * A schedule is waiting -> running -> waiting, or -> retrying until it succeeds. Invariants: a volume has one run or one thinning
 * under way; a run that is owed is one, for the newest slot, however many were missed; it is done, durably, when its snapshot is
 * completed in the store, and a daemon that dies before that finds the snapshot again (`ScheduleMark`). What is thinned depends
 * on the snapshots and the time alone, so it may be stopped anywhere and done again. Nothing here asks the store for anything
 * while nothing is due.
 */
import { SgwError, Semaphore, toSgwError, type Clock, type ErrorKind, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { ScheduleState } from '../../state/index.ts';
import type { Session } from '../session.ts';
import { noteSchedule, readSchedules, type Schedules } from './book.ts';
import { beginRun, untilCompleted } from './run.ts';
import { mendedSlot, nextSlot, owedSlot } from './slots.ts';
import { SteadyClock } from './steady-clock.ts';
import { thin } from './thin.ts';

/** How often the time is looked at: timers do not run while a machine sleeps, nor when its clock is set. */
const TICK_MS = 60_000;
const RETRY_FIRST_MS = 15_000;
const RETRY_MAX_MS = 5 * 60_000;
/** For what trying again does not mend: the operator does, outside. */
const RETRY_LASTING_MS = 60 * 60_000;
const LASTING_KINDS: ReadonlySet<ErrorKind> = new Set(['notFound', 'corrupt', 'unsupported', 'internal', 'denied']);
/** A snapshot that is pending for longer is told of. */
const PENDING_TOLD_MS = 10 * 60_000;
/** Runs that make their snapshots at once: these take turns at the lock of names. */
const RUNS_AT_ONCE = 2;
const LOCK_TIMEOUT_MS = 30_000;

/** `thinned` also when there was nothing to delete. */
export type ScheduleEvent =
  | { readonly kind: 'made'; readonly volumeId: string; readonly name: string; readonly dueAt: string }
  | { readonly kind: 'thinned'; readonly volumeId: string; readonly names: readonly string[] }
  | { readonly kind: 'failed'; readonly volumeId: string; readonly failure: SgwError; readonly retryInMs: number };

export interface RunnerOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  readonly clock: Clock;
  /** What the work for an account stands on. */
  readonly openSession: (accountId: string, call: CallContext) => Promise<Session>;
  readonly secrets: CallContext['secrets'];
  readonly onEvent: (event: ScheduleEvent) => void;
}

interface Job {
  work: Promise<void> | undefined;
  /** By the monotonic clock; 0: at once. */
  retryAtMs: number;
  failures: number;
  isThinningOwed: boolean;
}

export class ScheduleRunner {
  readonly #options: RunnerOptions;
  readonly #ended = new AbortController();
  readonly #jobs = new Map<string, Job>();
  readonly #turns = new Semaphore(RUNS_AT_ONCE);
  readonly #steady: SteadyClock;
  #schedules: Schedules = {};
  #isRead = false;
  /** How often `changed` was told. */
  #changes = 0;
  #wake = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#steady = new SteadyClock(options.clock);
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** The schedules, or what stood in their way, are others now: looks at them anew, at once. */
  changed(): void {
    for (const job of this.#jobs.values()) Object.assign(job, { retryAtMs: 0, isThinningOwed: true });
    this.#changes += 1;
    this.#lookAgain();
  }

  /** How the schedule of a volume does; `retryInMs` is null unless it waits to be tried again. */
  phaseOf(volumeId: string): { readonly isRunning: boolean; readonly retryInMs: number | null } {
    const job = this.#jobs.get(volumeId);
    const waitMs = (job?.retryAtMs ?? 0) - this.#options.clock.monotonicMs();
    return { isRunning: job?.work !== undefined, retryInMs: waitMs > 0 ? waitMs : null };
  }

  /** Stops what is under way, which the next start goes on with. Idempotent. */
  async stop(): Promise<void> {
    this.#ended.abort(new SgwError('aborted', 'aborted', 'the gateway is stopping'));
    await this.#loop;
    await Promise.all([...this.#jobs.values()].map(async ({ work }) => work));
  }

  #lookAgain(): void {
    this.#isRead = false;
    this.#wake.abort();
  }

  async #run(): Promise<void> {
    const { home, clock } = this.#options;
    while (!this.#ended.signal.aborted) {
      this.#wake = new AbortController();
      // What can't be read now is read at the next look.
      await this.#read(home);
      const waits = Object.entries(this.#schedules).map(([volumeId, schedule]) => this.#look(volumeId, schedule));
      const signal = AbortSignal.any([this.#ended.signal, this.#wake.signal]);
      this.#steady.waitMs();
      await clock.sleep(Math.max(1, Math.min(TICK_MS, ...waits)), signal).catch(() => undefined);
    }
  }

  /** As they are now: what changes while they are read is read again. */
  async #read(home: string): Promise<void> {
    while (!this.#isRead) {
      this.#isRead = true;
      try {
        this.#schedules = await readSchedules(home);
      } catch {
        this.#isRead = false;
        return;
      }
    }
  }

  /** Begins what is to be done for a volume. Returns how long nothing is, in milliseconds. */
  #look(volumeId: string, schedule: ScheduleState): number {
    const { clock } = this.#options;
    const job = this.#jobs.get(volumeId) ?? { work: undefined, retryAtMs: 0, failures: 0, isThinningOwed: true };
    this.#jobs.set(volumeId, job);
    if (job.work !== undefined) return TICK_MS;
    const retryInMs = job.retryAtMs - clock.monotonicMs();
    if (retryInMs > 0) return retryInMs;
    const nowMs = clock.nowMs();
    const doneMs = Date.parse(schedule.doneSlot);
    const mendedMs = mendedSlot(schedule, doneMs, nowMs);
    if (mendedMs !== doneMs) {
      this.#begin(volumeId, schedule, job, async (call) => this.#mend(volumeId, schedule, mendedMs, call));
      return TICK_MS;
    }
    const slotMs = owedSlot(schedule, doneMs, nowMs);
    if (slotMs !== undefined) {
      this.#begin(volumeId, schedule, job, async (call) => this.#make(volumeId, schedule, slotMs, job, call));
      return TICK_MS;
    }
    const untilNextMs = nextSlot(schedule, doneMs, nowMs) - nowMs;
    if (!job.isThinningOwed) return untilNextMs;
    const unsteadyMs = this.#steady.waitMs();
    if (unsteadyMs > 0) return Math.min(unsteadyMs, untilNextMs);
    this.#begin(volumeId, schedule, job, async (call) => this.#thin(volumeId, schedule, job, call));
    return TICK_MS;
  }

  #begin(volumeId: string, schedule: ScheduleState, job: Job, work: (call: CallContext) => Promise<void>): void {
    const { secrets } = this.#options;
    const { signal } = this.#ended;
    const call = {
      ...{ signal, onProgress: () => undefined, lockTimeoutMs: LOCK_TIMEOUT_MS },
      ...(secrets === undefined ? {} : { secrets }),
    };
    job.work = work(call)
      .then(() => {
        job.failures = 0;
        job.retryAtMs = 0;
      })
      .catch(async (error: unknown) => this.#onFailure(volumeId, schedule, job, toSgwError(error), call))
      .finally(() => {
        job.work = undefined;
        this.#lookAgain();
      });
  }

  /** Takes back a slot of a time that has not come. */
  async #mend(volumeId: string, { scheduleId }: ScheduleState, slotMs: number, call: CallContext): Promise<void> {
    const doneSlot = new Date(slotMs).toISOString();
    await noteSchedule(this.#options.home, volumeId, scheduleId, (now) => ({ ...now, doneSlot }), call);
  }

  async #make(volumeId: string, schedule: ScheduleState, slotMs: number, job: Job, call: CallContext): Promise<void> {
    const { home, openSession, onEvent } = this.#options;
    const { scheduleId } = schedule;
    const session = await openSession(schedule.accountId, call);
    const release = await this.#turns.acquire(1, call.signal);
    const { volume, snapshot: begun } = await beginRun(session, volumeId as VolumeId, schedule, slotMs, call).finally(
      release,
    );
    let isTold = false;
    const onWait = (waitedMs: number): void => {
      if (isTold || waitedMs < PENDING_TOLD_MS) return;
      isTold = true;
      void this.#note(volumeId, schedule, stillPending(begun.name), call);
    };
    const snapshot = await untilCompleted(session, begun, onWait, call);
    const { snapshotId, name, createdAt } = snapshot;
    const { dueAt, run } = begun.schedule ?? { dueAt: new Date(slotMs).toISOString(), run: schedule.runs + 1 };
    const last = { snapshotId, name, at: createdAt };
    const done = { volumeName: volume.name, doneSlot: dueAt, last, failure: null };
    await noteSchedule(home, volumeId, scheduleId, (now) => ({ ...now, ...done, runs: Math.max(now.runs, run) }), call);
    job.isThinningOwed = true;
    onEvent({ kind: 'made', volumeId, name, dueAt });
  }

  async #thin(volumeId: string, schedule: ScheduleState, job: Job, call: CallContext): Promise<void> {
    const { home, openSession, onEvent } = this.#options;
    const changes = this.#changes;
    if (schedule.keep !== null) {
      const session = await openSession(schedule.accountId, call);
      const deleted = await thin(session, volumeId, schedule, call);
      onEvent({ kind: 'thinned', volumeId, names: deleted.map(({ name }) => name) });
    }
    job.isThinningOwed = changes !== this.#changes;
    if (schedule.failure === null) return;
    await noteSchedule(home, volumeId, schedule.scheduleId, (now) => ({ ...now, failure: null }), call);
  }

  async #onFailure(
    volumeId: string,
    schedule: ScheduleState,
    job: Job,
    failure: SgwError,
    call: CallContext,
  ): Promise<void> {
    if (this.#ended.signal.aborted) return;
    const { clock, onEvent } = this.#options;
    const retryInMs = LASTING_KINDS.has(failure.kind)
      ? Math.min(RETRY_LASTING_MS, schedule.everyMs)
      : Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(job.failures, 10));
    job.failures += 1;
    job.retryAtMs = clock.monotonicMs() + retryInMs;
    onEvent({ kind: 'failed', volumeId, failure, retryInMs });
    await this.#note(volumeId, schedule, failure, call);
  }

  /** Best effort: it is tried again whether it is noted or not. The first of a row of the same failures is the one that is kept. */
  async #note(volumeId: string, { scheduleId }: ScheduleState, error: SgwError, call: CallContext): Promise<void> {
    const { home, clock } = this.#options;
    const failure = { at: new Date(clock.nowMs()).toISOString(), code: error.code, message: error.message };
    const isSame = (now: ScheduleState): boolean => now.failure?.code === failure.code;
    await noteSchedule(home, volumeId, scheduleId, (now) => (isSame(now) ? now : { ...now, failure }), call).catch(
      () => undefined,
    );
  }
}

const stillPending = (name: string): SgwError =>
  new SgwError('unavailable', 'snapshot-pending', `snapshot ${name} waits for its data to be in the store`);
