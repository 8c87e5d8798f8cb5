/**
 * Runs the schedules of a gateway's volumes, for as long as its daemon does.
 *
 * A schedule is waiting -> running -> waiting, or -> retrying until it succeeds. Invariants: a volume has one run or one thinning
 * under way; a run that is owed is one, for the newest slot, however many were missed; it is done, durably, when its snapshot is
 * completed in the store, and a daemon that dies before that finds the snapshot again (`ScheduleMark`). What is thinned depends
 * on the snapshots and the time alone, so it may be stopped anywhere and done again. Nothing here asks the store for anything
 * while nothing is due.
 */
import { SgwError, Semaphore, toSgwError, type Clock, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { ScheduleState } from '../../state/index.ts';
import type { Session } from '../session.ts';
import { failureToNote, noteSchedule, readSchedules, type Schedules } from './book.ts';
import { Job } from './job.ts';
import { beginRun, untilCompleted } from './run.ts';
import { mendedSlot, nextSlot, owedSlot } from './slots.ts';
import { SteadyClock } from './steady-clock.ts';
import { thin } from './thin.ts';
import { tidyPlaces } from './verification/place.ts';
import { Verifier } from './verification/verifier.ts';

/** How often the time is looked at: timers do not run while a machine sleeps, nor when its clock is set. */
const TICK_MS = 60_000;
/** A snapshot that is pending for longer is told of. */
const PENDING_TOLD_MS = 10 * 60_000;
/** Runs that make their snapshots at once: these take turns at the lock of names. */
const RUNS_AT_ONCE = 2;
const LOCK_TIMEOUT_MS = 30_000;

/** `thinned` also when there was nothing to delete. */
export type ScheduleEvent =
  | { readonly kind: 'made'; readonly volumeId: string; readonly name: string; readonly dueAt: string }
  | { readonly kind: 'thinned'; readonly volumeId: string; readonly names: readonly string[] }
  | {
      readonly kind: 'verified';
      readonly volumeId: string;
      readonly name: string;
      readonly ok: boolean;
      readonly message: string | null;
    }
  | { readonly kind: 'failed'; readonly volumeId: string; readonly failure: SgwError; readonly retryInMs: number };

export interface SchedulePhase {
  readonly isRunning: boolean;
  /** Null unless what failed waits to be tried again. */
  readonly retryInMs: number | null;
  readonly isVerifying: boolean;
}

export interface RunnerOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  readonly gatewayId: string;
  readonly clock: Clock;
  /** What the work for an account stands on. */
  readonly openSession: (accountId: string, call: CallContext) => Promise<Session>;
  readonly secrets: CallContext['secrets'];
  readonly onEvent: (event: ScheduleEvent) => void;
}

export class ScheduleRunner {
  readonly #options: RunnerOptions;
  readonly #ended = new AbortController();
  readonly #jobs = new Map<string, Job>();
  /** Volumes whose snapshots were thinned since the last run. */
  readonly #thinned = new Set<string>();
  readonly #verifier: Verifier;
  readonly #turns = new Semaphore(RUNS_AT_ONCE);
  readonly #steady: SteadyClock;
  #schedules: Schedules = {};
  #isRead = false;
  /** How often `changed` was told. */
  #changes = 0;
  #wake = new AbortController();
  #loop: Promise<void> | undefined;
  #metrics: { text(): Promise<string> } | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#steady = new SteadyClock(options.clock);
    const { home, clock, openSession, onEvent } = options;
    this.#verifier = new Verifier({
      ...{ home, clock, openSession },
      onVerified: (volumeId, name, ok, message) => {
        onEvent({ kind: 'verified', volumeId, name, ok, message });
      },
      onFailure: (volumeId, failure, retryInMs) => {
        onEvent({ kind: 'failed', volumeId, failure, retryInMs });
      },
      lookAgain: () => {
        this.#lookAgain();
      },
    });
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** The schedules, or what stood in their way, are others now: looks at them anew, at once. */
  changed(): void {
    for (const job of this.#jobs.values()) job.retryNow();
    this.#verifier.retryNow();
    this.#thinned.clear();
    this.#changes += 1;
    this.#lookAgain();
  }

  /** There is a snapshot of the volume, or will be: a verification may have waited for one. */
  snapshotMade(volumeId: string): void {
    if (this.#schedules[volumeId]?.verify === undefined) return;
    this.#verifier.retryNow(volumeId);
    this.#lookAgain();
  }

  /** How the schedule of a volume does. */
  phaseOf(volumeId: string): SchedulePhase {
    const job = this.#jobs.get(volumeId);
    const waitMs = job?.retryInMs ?? 0;
    return {
      isRunning: job?.isRunning === true,
      retryInMs: waitMs > 0 ? waitMs : null,
      isVerifying: this.#verifier.isRunning(volumeId),
    };
  }

  /** In the text format of Prometheus. */
  async metrics(): Promise<string> {
    const { scheduleMetrics } = await import('./metrics.ts');
    this.#metrics ??= scheduleMetrics(() => this.#schedules);
    return await this.#metrics.text();
  }

  /** Stops what is under way, which the next start goes on with. Idempotent. */
  async stop(): Promise<void> {
    this.#ended.abort(new SgwError('aborted', 'aborted', 'the gateway is stopping'));
    await this.#loop;
    await Promise.all([...this.#jobs.values()].map(async (job) => job.ended));
    await this.#verifier.ended();
  }

  #lookAgain(): void {
    this.#isRead = false;
    this.#wake.abort();
  }

  async #run(): Promise<void> {
    const { home, gatewayId, clock } = this.#options;
    // What a killed process had made for a command to look at.
    await tidyPlaces(home, gatewayId).catch(() => undefined);
    while (!this.#ended.signal.aborted) {
      this.#wake = new AbortController();
      // What can't be read now is read at the next look.
      await this.#read(home);
      const waits = Object.entries(this.#schedules).flatMap(([volumeId, schedule]) => [
        this.#look(volumeId, schedule),
        this.#verifier.look(volumeId, schedule, this.#call()),
      ]);
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
    const job = this.#jobs.get(volumeId) ?? new Job(clock);
    this.#jobs.set(volumeId, job);
    if (job.isRunning) return TICK_MS;
    if (job.retryInMs > 0) return job.retryInMs;
    const nowMs = clock.nowMs();
    const doneMs = Date.parse(schedule.doneSlot);
    const mendedMs = mendedSlot(schedule, doneMs, nowMs);
    if (mendedMs !== doneMs) {
      this.#begin(volumeId, schedule, job, async (call) => this.#mend(volumeId, schedule, mendedMs, call));
      return TICK_MS;
    }
    const slotMs = owedSlot(schedule, doneMs, nowMs);
    if (slotMs !== undefined) {
      this.#begin(volumeId, schedule, job, async (call) => this.#make(volumeId, schedule, slotMs, call));
      return TICK_MS;
    }
    const untilNextMs = nextSlot(schedule, doneMs, nowMs) - nowMs;
    if (this.#thinned.has(volumeId)) {
      if (schedule.failure === null) return untilNextMs;
      this.#begin(volumeId, schedule, job, async (call) => this.#forgetFailure(volumeId, schedule, call));
      return TICK_MS;
    }
    const unsteadyMs = this.#steady.waitMs();
    if (unsteadyMs > 0) return Math.min(unsteadyMs, untilNextMs);
    this.#begin(volumeId, schedule, job, async (call) => this.#thin(volumeId, schedule, call));
    return TICK_MS;
  }

  #begin(volumeId: string, schedule: ScheduleState, job: Job, work: (call: CallContext) => Promise<void>): void {
    const call = this.#call();
    job.begin(
      async () => work(call),
      async (error) => this.#onFailure(volumeId, schedule, job, toSgwError(error), call),
      () => {
        this.#lookAgain();
      },
    );
  }

  /** What the work is done with. */
  #call(): CallContext {
    const { secrets } = this.#options;
    const { signal } = this.#ended;
    const common = { signal, onProgress: () => undefined, lockTimeoutMs: LOCK_TIMEOUT_MS };
    return { ...common, ...(secrets === undefined ? {} : { secrets }) };
  }

  /** Takes back a slot of a time that has not come. */
  async #mend(volumeId: string, { scheduleId }: ScheduleState, slotMs: number, call: CallContext): Promise<void> {
    const doneSlot = new Date(slotMs).toISOString();
    await noteSchedule(this.#options.home, volumeId, scheduleId, (now) => ({ ...now, doneSlot }), call);
  }

  async #make(volumeId: string, schedule: ScheduleState, slotMs: number, call: CallContext): Promise<void> {
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
    this.#thinned.delete(volumeId);
    this.#verifier.retryNow(volumeId);
    onEvent({ kind: 'made', volumeId, name, dueAt });
  }

  async #thin(volumeId: string, schedule: ScheduleState, call: CallContext): Promise<void> {
    const { openSession, onEvent } = this.#options;
    const changes = this.#changes;
    if (schedule.keep !== null) {
      const session = await openSession(schedule.accountId, call);
      const deleted = await thin(session, volumeId, schedule, call, () => changes === this.#changes);
      onEvent({ kind: 'thinned', volumeId, names: deleted.map(({ name }) => name) });
    }
    if (changes === this.#changes) this.#thinned.add(volumeId);
    if (schedule.failure !== null) await this.#forgetFailure(volumeId, schedule, call);
  }

  /** Of what is done, or is owed no more, since the clock that said so was set back. */
  async #forgetFailure(volumeId: string, { scheduleId }: ScheduleState, call: CallContext): Promise<void> {
    await noteSchedule(this.#options.home, volumeId, scheduleId, (now) => ({ ...now, failure: null }), call);
  }

  async #onFailure(
    volumeId: string,
    schedule: ScheduleState,
    job: Job,
    failure: SgwError,
    call: CallContext,
  ): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#options.onEvent({ kind: 'failed', volumeId, failure, retryInMs: job.failed(failure, schedule.everyMs) });
    await this.#note(volumeId, schedule, failure, call);
  }

  /** Best effort: it is tried again whether it is noted or not. */
  async #note(volumeId: string, { scheduleId }: ScheduleState, error: SgwError, call: CallContext): Promise<void> {
    const { home, clock } = this.#options;
    const nowMs = clock.nowMs();
    const note = (now: ScheduleState): ScheduleState => ({ ...now, failure: failureToNote(now.failure, error, nowMs) });
    await noteSchedule(home, volumeId, scheduleId, note, call).catch(() => undefined);
  }
}

const stillPending = (name: string): SgwError =>
  new SgwError('unavailable', 'snapshot-pending', `snapshot ${name} waits for its data to be in the store`);
