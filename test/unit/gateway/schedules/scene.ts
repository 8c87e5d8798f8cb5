/** A gateway whose schedules run by a clock that the test moves, over a store in memory that can go away. */
import type { Serving } from '../../../../src/core/gateway/index.ts';
import type { ScheduleEvent, ScheduleRunner } from '../../../../src/core/gateway/schedules/runner.ts';
import type { ScheduleDocument, SnapshotSummary } from '../../../../src/core/localapi/index.ts';
import { memoryStore, withFaults, type FaultyStore, type ObjectStore } from '../../../../src/core/objectstore/index.ts';
import { GatewayRig, type RigOptions } from '../rig.ts';
import { SetClock } from './set-clock.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** A Sunday. */
export const START = Date.UTC(2026, 10, 29, 10, 30);

export class ScheduleScene implements AsyncDisposable {
  readonly clock: SetClock;
  readonly events: (ScheduleEvent & { readonly atMs: number })[] = [];
  /** The store, which is never away. */
  readonly below: ObjectStore;
  readonly #home: GatewayRig;
  readonly #options: RigOptions;
  readonly #faults: FaultyStore;
  #daemon: GatewayRig | undefined;
  #volumeIds: string[] = [];
  runner: ScheduleRunner | undefined;
  serving: Serving | undefined;

  private constructor(home: GatewayRig, clock: SetClock, faults: FaultyStore, below: ObjectStore, options: RigOptions) {
    this.below = below;
    this.#home = home;
    this.clock = clock;
    this.#faults = faults;
    this.#options = options;
  }

  /** Who is called: the daemon while it runs. */
  get rig(): GatewayRig {
    return this.#daemon ?? this.#home;
  }

  static async start(options: RigOptions = {}, startMs = START): Promise<ScheduleScene> {
    const clock = new SetClock(startMs);
    const below = memoryStore();
    const faults = withFaults(below, { rules: [], clock });
    const rig = await GatewayRig.start(faults.store, 'lab', { clock, ...options });
    return new ScheduleScene(rig, clock, faults, below, { clock, ...options });
  }

  /** As a daemon begins. */
  async run(): Promise<void> {
    this.#daemon = this.#home.again(this.#options);
    if (this.#options.serving !== undefined) this.serving = await this.#daemon.serve();
    this.runner = await this.#daemon.runSchedules((event) => this.events.push({ ...event, atMs: this.clock.nowMs() }));
    await this.settle();
  }

  /** As a daemon ends: what it was doing is broken off. */
  async end(): Promise<void> {
    await this.runner?.stop();
    await this.serving?.stop({ drain: true, signal: new AbortController().signal });
    this.runner = undefined;
    this.serving = undefined;
    await this.#daemon?.[Symbol.asyncDispose]();
    this.#daemon = undefined;
  }

  setStoreAway(isAway: boolean): void {
    this.#faults.setRules(isAway ? [{ fault: 'error500' }] : []);
  }

  /** Waits until everything waits for the clock. */
  async settle(): Promise<void> {
    const { runner } = this;
    if (runner === undefined) return;
    for (let looks = 0; ; looks++) {
      await new Promise((resolve) => {
        // Files take their time.
        if (looks < 2) setImmediate(resolve);
        else setTimeout(resolve, 1);
      });
      const volumeIds = this.#volumeIds;
      const running = volumeIds.filter((volumeId) => runner.phaseOf(volumeId).isRunning).length;
      if (this.clock.sleepers > running) return;
    }
  }

  /** Lets time pass, from one wake to the next. */
  async pass(durationMs: number): Promise<void> {
    const untilMs = this.clock.monotonicMs() + durationMs;
    for (;;) {
      await this.settle();
      const leftMs = untilMs - this.clock.monotonicMs();
      const stepMs = Math.min(leftMs, this.clock.nextInMs);
      if (stepMs >= 0) this.clock.pass(stepMs);
      if (stepMs >= leftMs) break;
    }
    await this.settle();
  }

  async addVolume(name: string): Promise<string> {
    const { volumeId } = await this.rig.call('volume.create', { name, sizeBytes: 1 << 20 });
    this.#volumeIds = [...this.#volumeIds, volumeId];
    return volumeId;
  }

  async snapshots(volume = 'db'): Promise<SnapshotSummary[]> {
    return (await this.rig.call('snapshot.list', { volume })).snapshots;
  }

  async names(volume = 'db'): Promise<string[]> {
    return (await this.snapshots(volume)).map(({ name }) => name);
  }

  async schedule(volume = 'db'): Promise<ScheduleDocument> {
    const { schedules } = await this.rig.call('schedule.show', { volume });
    const [schedule] = schedules;
    if (schedule === undefined) throw new Error(`${volume} has no schedule`);
    return schedule;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.setStoreAway(false);
    await this.end();
    await this.#home[Symbol.asyncDispose]();
  }
}
