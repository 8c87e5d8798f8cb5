/**
 * The disk of a write log as a process of the simulation sees it: listing, making, removing and syncing files are steps of the
 * world, at which the process may end. The bytes are on a disk that outlives the process and forgets what was not synced.
 */
import type { LogDisk, LogFile } from '../../../src/core/writelog/index.ts';
import type { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';
import type { Choices } from '../random.ts';
import type { Process, World } from '../world.ts';

export interface SimDiskParts {
  readonly world: World;
  readonly process: Process;
  readonly choices: Choices;
  /** How often the process ends at a step, before or behind it. */
  readonly crashRate: number;
}

/** Steps of a disk. */
export class DiskSteps {
  readonly #parts: SimDiskParts;

  constructor(parts: SimDiskParts) {
    this.#parts = parts;
  }

  get isAlive(): boolean {
    return this.#parts.process.alive;
  }

  async step(name: string): Promise<void> {
    const { world, process, choices, crashRate } = this.#parts;
    const isSlow = choices.chance(0.02);
    await world.sleep(process, isSlow ? choices.durationMs(100, 20_000) : choices.integer(0, 8));
    world.tally.point(`${name}.before`);
    if (!choices.chance(crashRate)) return;
    world.tally.fault('crash', `${name}.before`);
    world.note(`${process.name} crash at ${name}`);
    world.crash(process);
    await new Promise(() => undefined);
  }
}

/** Files of one home, and the path by which a worker finds them. */
const logPath = (name: string): string => `log:${name}`;

export class SimLogDisk implements LogDisk {
  readonly #inner: ForgetfulLogDisk;
  readonly #steps: DiskSteps;
  readonly #onAside: () => void;

  constructor(inner: ForgetfulLogDisk, steps: DiskSteps, onAside: () => void) {
    this.#inner = inner;
    this.#steps = steps;
    this.#onAside = onAside;
  }

  get bootId(): string {
    return this.#inner.bootId;
  }

  async list(): Promise<string[]> {
    await this.#steps.step('log.list');
    return await this.#inner.list();
  }

  async open(name: string, sizeBytes: number): Promise<LogFile> {
    await this.#steps.step('log.open');
    return new SimLogFile(this.#inner, await this.#inner.open(name, sizeBytes), this.#steps);
  }

  async remove(name: string): Promise<void> {
    await this.#steps.step('log.remove');
    await this.#inner.remove(name);
  }

  async setAside(reason: string): Promise<string> {
    await this.#steps.step('log.aside');
    this.#onAside();
    return await this.#inner.setAside(reason);
  }

  /** Bytes of a file, for who encodes them. */
  bytesAt(path: string, position: number, length: number): Buffer {
    return this.#inner.bytesOf(path.slice(logPath('').length)).subarray(position, position + length);
  }
}

class SimLogFile implements LogFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly path: string;
  readonly #disk: ForgetfulLogDisk;
  readonly #file: LogFile;
  readonly #steps: DiskSteps;

  constructor(disk: ForgetfulLogDisk, file: LogFile, steps: DiskSteps) {
    this.#disk = disk;
    this.#file = file;
    this.#steps = steps;
    this.name = file.name;
    this.sizeBytes = file.sizeBytes;
    this.path = logPath(file.name);
  }

  readSync(target: Uint8Array, position: number): void {
    this.#file.readSync(target, position);
  }

  writeSync(pieces: readonly Uint8Array[], position: number): void {
    // What ended writes nothing any more.
    if (!this.#steps.isAlive) throw new Error('this process has ended');
    this.#file.writeSync(pieces, position);
  }

  async sync(): Promise<void> {
    // Covers what is written now, and not what comes while it runs.
    this.#disk.syncGate = this.#steps.step('log.sync');
    await this.#file.sync();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
