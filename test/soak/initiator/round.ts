/**
 * The initiator of the Linux kernel against served volumes: `npm run soak -- --initiator`. Each round boots Debian's kernel
 * under emulation (`guest.sh` is its first process): discovery, mutual CHAP, CRC32C digests, a file system, fio with
 * verification while the gateway is killed, restarted, stopped or loses its store, or the initiator resets the unit; then the
 * disk grows, all is verified, checked, summed up and logged out of. What is in the store has to be what the kernel read last.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import type { SoakStores } from '../store.ts';
import { GUEST, Machine } from './machine.ts';
import type { BootFiles } from './system.ts';
import { SECRETS, SLICES, Target } from './target.ts';

const MIB = 1 << 20;
/** xfs takes no less than 300 MiB. */
const SIZE_BYTES = 384 * MIB;
const GROWN_BYTES = 448 * MIB;
/** A machine that has not powered off by then never will. */
const ROUND_MS_MAX = 600_000;
const LATER_MS_MAX = 4000;
/**
 * What the kernel says of an error that came up to it; the steps that provoke errors tell of theirs in other words. That a connection
 * was lost is none: it was closed, could not be written to, or did not answer (1011, 1019, 1020, 1022 of its `enum iscsi_err`).
 */
const TROUBLE =
  /error(?! \((?:1011|1019|1020|1022)\))|sense key|failed|offline|corrupt|critical|hung|blocked for|conflict|bug:|warning:|oops|call trace/i;

const FAULTS = ['kill', 'restart', 'stall', 'outage', 'reset'] as const;
type Fault = (typeof FAULTS)[number];

export interface InitiatorCounts {
  rounds: number;
  /** Rounds with a session through each of the portals. */
  twoSessions: number;
  kills: number;
  restarts: number;
  stalls: number;
  outages: number;
  resets: number;
  /** Sessions that the initiator took up again, and commands that it aborted. */
  recoveries: number;
  aborts: number;
  /** Runs of fio. */
  passes: number;
  kernel: string;
}

export const initiatorCounts = (): InitiatorCounts => ({
  ...{ rounds: 0, twoSessions: 0, kills: 0, restarts: 0, stalls: 0, outages: 0, resets: 0 },
  ...{ recoveries: 0, aborts: 0, passes: 0, kernel: '' },
});

export interface InitiatorOptions {
  readonly folder: string;
  readonly stores: SoakStores;
  readonly random: Random;
  readonly counts: InitiatorCounts;
  readonly goesOn: () => boolean;
  readonly onRound: (line: string) => void;
  readonly files: BootFiles;
}

/** Runs rounds until `goesOn` says no. @throws Error at the first loss */
export async function runInitiator(options: InitiatorOptions): Promise<void> {
  const { folder, stores, random, counts, goesOn, onRound, files } = options;
  const store = await stores(folder);
  const target = new Target(folder, store, random);
  try {
    const portals = await target.begin();
    while (goesOn()) {
      const startedMs = performance.now();
      counts.rounds += 1;
      const told = await new Round(counts.rounds, { files, target, portals, random, counts, folder }).run();
      onRound(`${told}, ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
    }
    await target.end();
    await store.remove();
  } finally {
    await target.destroy();
  }
}

interface RoundParts {
  readonly files: BootFiles;
  readonly target: Target;
  readonly portals: readonly [string, string];
  readonly random: Random;
  readonly counts: InitiatorCounts;
  readonly folder: string;
}

interface Facts {
  readonly kernel: string;
  readonly passes: number;
  readonly aborts: number;
  readonly recoveries: number;
  readonly md5: string;
}

class Round {
  readonly #parts: RoundParts;
  readonly #number: number;
  readonly #fault: Fault;
  readonly #sessions: 1 | 2;
  readonly #fs: 'ext4' | 'xfs';
  readonly #volume: string;
  readonly #slice: number;
  readonly #console: string;

  constructor(number: number, parts: RoundParts) {
    this.#parts = parts;
    this.#number = number;
    // Two, three and five rounds until each comes again: thirty have all combinations.
    this.#fault = FAULTS[(number - 1) % FAULTS.length] ?? 'kill';
    this.#fs = number % 2 === 1 ? 'ext4' : 'xfs';
    this.#sessions = number % 3 === 1 ? 1 : 2;
    this.#slice = Math.floor(parts.random.float() * SLICES);
    this.#volume = `disk-${String(number)}`;
    this.#console = join(parts.folder, `console-${String(number)}.log`);
  }

  /** @throws Error at a loss */
  async run(): Promise<string> {
    const { target, counts } = this.#parts;
    const plan = `round ${String(this.#number)}: ${this.#fs}, ${String(this.#sessions)} of 2 portals, ${this.#fault}`;
    try {
      const name = await target.serve(this.#volume, SIZE_BYTES);
      const facts = await this.#boot(name);
      this.#judge(facts);
      await target.endVolume(this.#volume, this.#slice, facts.md5);
      counts.passes += facts.passes;
      counts.aborts += facts.aborts;
      counts.recoveries += facts.recoveries;
      counts.kernel = facts.kernel;
      if (this.#sessions === 2) counts.twoSessions += 1;
      return `${plan}: ${String(facts.recoveries)} recoveries, ${String(facts.aborts)} aborts, ${String(facts.passes)} passes`;
    } catch (error) {
      throw new Error(`${plan}: ${error instanceof Error ? error.message : String(error)}\nconsole: ${this.#console}`, {
        cause: error,
      });
    }
  }

  async #boot(targetName: string): Promise<Facts> {
    const { files, portals, random } = this.#parts;
    using machine = new Machine(
      files,
      {
        ...{ TARGET: targetName, SECRET: SECRETS.initiator, TARGET_SECRET: SECRETS.target },
        ...{ FIRST: portals[0], SECOND: portals[1], ADDRESS: GUEST, SESSIONS: this.#sessions, FS: this.#fs },
        ...{ SIZE: SIZE_BYTES, GROWN: GROWN_BYTES, COMMAND_S: this.#fault === 'outage' ? 6 : 30 },
        ...{ SEED: Math.floor(random.float() * 1_000_000), SLICE: this.#slice },
      },
      this.#console,
    );
    let problem: Error | undefined;
    const giveUp = (error: unknown): void => {
      problem ??= error instanceof Error ? error : new Error(String(error));
      machine[Symbol.dispose]();
    };
    const deadline = setTimeout(giveUp, ROUND_MS_MAX, new Error('the machine does not come to its end'));
    let facts: Facts | undefined;
    let isDone = false;
    let hurting: Promise<void> | undefined;
    try {
      for await (const line of machine.lines()) {
        const failure = /^soak: failed (?<why>.*)/.exec(line)?.groups?.['why'];
        if (failure !== undefined) giveUp(new Error(`the initiator failed at ${failure}`));
        else if (line.startsWith('kernel: ') && TROUBLE.test(line)) giveUp(new Error(`the kernel said: ${line}`));
        else if (line === 'soak: load') hurting = this.#hurt(machine).catch(giveUp);
        else if (line.startsWith('soak: facts ')) facts = parseFacts(line);
        else if (line === 'soak: done') isDone = true;
      }
    } finally {
      clearTimeout(deadline);
      await hurting;
    }
    if (problem !== undefined) throw problem;
    if (!isDone || facts === undefined) throw new Error('the machine ended before its time');
    return facts;
  }

  /** What happens under load; then the disk grows, and the load may end. */
  async #hurt(machine: Machine): Promise<void> {
    const { target, random, counts } = this.#parts;
    await delay(random.float() * LATER_MS_MAX);
    switch (this.#fault) {
      case 'kill':
        for (let times = 1 + Math.floor(random.float() * 2); times > 0; times--) {
          await target.kill();
          counts.kills += 1;
          await delay(5000 + random.float() * LATER_MS_MAX);
        }
        break;
      case 'restart':
        await target.restart();
        counts.restarts += 1;
        break;
      case 'stall':
        await target.stall();
        counts.stalls += 1;
        break;
      case 'outage':
        await target.outage();
        counts.outages += 1;
        break;
      case 'reset':
        machine.send('reset');
        counts.resets += 1;
        break;
    }
    await delay(2000);
    await target.grow(this.#volume, GROWN_BYTES);
    machine.send('go');
  }

  /** A fault of which the initiator noticed nothing shows nothing. */
  #judge({ recoveries, aborts }: Facts): void {
    const isLost = this.#fault === 'kill' || this.#fault === 'restart' || this.#fault === 'stall';
    if (isLost && recoveries < this.#sessions)
      throw new Error(`${String(recoveries)} of ${String(this.#sessions)} sessions were taken up again`);
    if (this.#fault === 'outage' && aborts === 0) throw new Error('the initiator aborted no command');
  }
}

function parseFacts(line: string): Facts {
  const found = new Map([...line.matchAll(/(\w+)=(\S*)/g)].map(([, name = '', value = '']) => [name, value]));
  const text = (name: string): string => {
    const value = found.get(name);
    if (value === undefined || value === '') throw new Error(`the initiator does not tell ${name}: ${line}`);
    return value;
  };
  const number = (name: string): number => Number(text(name));
  return {
    ...{ kernel: text('kernel'), md5: text('hash') },
    ...{ passes: number('passes'), aborts: number('aborts'), recoveries: number('recoveries') },
  };
}
