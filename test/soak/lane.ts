/**
 * One lane of the soak: rounds over homes of its own. An era is a new home over a new directory store; at its end, gc
 * runs until its grace period is over, and nothing that nobody needs may be left.
 *
 * A round: one to three commands at once, most of them killed; the oracle; the killed commands again, which must
 * succeed; the oracle again.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import type { ObjectStore } from '../../src/core/objectstore/index.ts';
import { chooseAction, type Action, type Limits, type Verb } from './actions.ts';
import { type Counts, killPlan, type Habits } from './counts.ts';
import { checkNoLitter, collectAll, type Ending } from './ending.ts';
import { Model, oneState } from './model.ts';
import { Loss, Oracle, type Listing } from './oracle.ts';
import { directoryStores, type SoakStore, type SoakStores } from './store.ts';
import { Runner, describeRun, documentOf, placeIn, type Outcome } from './verb.ts';

export interface LaneOptions {
  readonly seed: number;
  readonly lane: number;
  /** Where homes, stores and images are; a failing round's era stays there. */
  readonly folder: string;
  readonly limits: Limits;
  readonly eraRounds: number;
  readonly present: ReadonlySet<Verb>;
  /** Asked before each round. */
  readonly goesOn: () => boolean;
  readonly onRound?: (line: string) => void;
  /** Default directories. */
  readonly stores?: SoakStores;
}

/** A command run again waits no longer than this for a lock: whoever held it is dead. */
const LOCK_TIMEOUT = '5s';
/** Verbs that make or remove something. */
const CHANGING: readonly Verb[] = [
  'import',
  'clone',
  'snapshot create',
  'snapshot delete',
  'volume delete',
  'volume undelete',
];

interface Ran {
  readonly action: Action;
  readonly outcome: Outcome;
}

/** Runs rounds until `goesOn` says no. @throws Loss; what happened is in `story.txt` in the era's folder, which stays */
export async function runLane(options: LaneOptions, counts: Counts): Promise<void> {
  const habits: Habits = new Map();
  for (let number = 0; options.goesOn(); number++) {
    const folder = join(options.folder, `lane-${options.lane}-era-${number}`);
    mkdirSync(folder, { recursive: true });
    const random = seededRandom((options.seed * 31 + options.lane) * 1009 + number);
    // Every other home is over an encrypted store.
    const keyFile = (options.lane + number) % 2 === 0 ? undefined : join(folder, 'store.key');
    const store = await (options.stores ?? directoryStores)(folder);
    const objects = await store.open();
    const era = new Era(options, { folder, random, counts, habits, keyFile, store, objects });
    try {
      await era.run();
    } catch (error) {
      const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
      writeFileSync(join(folder, 'story.txt'), `${era.story.join('\n')}\n${stack}\n`);
      throw new Loss(`${message}\nkept, with its story: ${folder}`, { cause: error });
    }
    await objects.close();
    await store.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface EraParts {
  readonly folder: string;
  readonly random: Random;
  readonly counts: Counts;
  readonly habits: Habits;
  /** Of an encrypted store. */
  readonly keyFile: string | undefined;
  readonly store: SoakStore;
  /** What the store holds. */
  readonly objects: ObjectStore;
}

class Era {
  readonly story: string[] = [];
  readonly #options: LaneOptions;
  readonly #parts: EraParts;
  readonly #model = new Model();
  readonly #runner: Runner;
  readonly #oracle: Oracle;

  constructor(options: LaneOptions, parts: EraParts) {
    this.#options = options;
    this.#parts = parts;
    const { folder, keyFile, objects } = parts;
    const more = keyFile === undefined ? {} : { SGW_KEY_FILE: keyFile };
    this.#runner = new Runner(placeIn(folder, 'home', more));
    const premises = { home: join(folder, 'home'), objects, pages: options.limits.pages };
    this.#oracle = new Oracle({ ...premises, ...(keyFile === undefined ? {} : { keyFile }) }, this.#model);
  }

  async run(): Promise<void> {
    using runner = this.#runner;
    const { folder, store, objects } = this.#parts;
    const sealing = this.#parts.keyFile === undefined ? [] : ['--encrypt'];
    const words = ['activate', '--name', 'soak', '--mode', 'cached', '--store', store.where, ...sealing, '--json'];
    await this.#mustRun(words);
    runner.watchStore(store);
    for (let round = 0; round < this.#options.eraRounds && this.#options.goesOn(); round++) await this.#round(round);
    const ending: Ending = {
      folder,
      store,
      objects,
      keys: await this.#oracle.storeKeys(),
      run: async (command) => this.#mustRun(command),
    };
    if (this.#options.present.has('gc')) await collectAll(ending);
    const listing = await this.#oracle.list();
    this.#oracle.adopt(listing, new Set(), new Set());
    await this.#oracle.verifyAll();
    await this.#read(listing, () => true, true);
    await checkNoLitter(ending);
  }

  async #round(round: number): Promise<void> {
    const startedMs = performance.now();
    this.story.push(`--- round ${round}`);
    const actions = this.#plan();
    const ran = await Promise.all(actions.map(async (action) => this.#runOnce(action)));
    for (const { action, outcome } of ran) judge(action, outcome, actions);
    await this.#look(ran, false);
    const again: Ran[] = [];
    for (const one of ran) {
      const outcome = await this.#settle(one, actions);
      if (outcome !== undefined) again.push({ action: one.action, outcome });
    }
    await this.#look([...ran, ...again], true);
    this.#parts.counts.rounds += 1;
    const what = ran.map(({ action, outcome }) => `${action.verb} ${outcome.killed ? outcome.phase : 'done'}`);
    const took = (performance.now() - startedMs).toFixed(0);
    this.#options.onRound?.(`lane ${this.#options.lane} round ${round}: ${what.join(', ')} (${took} ms)`);
  }

  #plan(): Action[] {
    const { limits, present } = this.#options;
    const { folder, random } = this.#parts;
    const context = { folder, random, model: this.#model, limits, present, taken: new Set<string>() };
    const count = 1 + Math.floor(random.float() * 3);
    return Array.from({ length: count }, () => chooseAction(context));
  }

  async #runOnce(action: Action): Promise<Ran> {
    const { random, habits, counts } = this.#parts;
    const kill = action.verb === 'snapshot verify' ? undefined : killPlan(random, habits, action.verb);
    await sleep(random.float() * 150);
    const outcome = await this.#runner.run(action.words, kill);
    this.story.push(`${describeRun(outcome)} ${kill === undefined ? '' : JSON.stringify(kill)}`);
    counts.add(action.verb, outcome);
    this.#learn(action.verb, outcome);
    return { action, outcome };
  }

  #learn(verb: Verb, { durationMs, events, exitCode }: Outcome): void {
    if (exitCode !== 0) return;
    const known = this.#parts.habits.get(verb) ?? { durationMs, events };
    this.#parts.habits.set(verb, {
      durationMs: 0.7 * known.durationMs + 0.3 * durationMs,
      events: 0.7 * known.events + 0.3 * events,
    });
  }

  /** The oracle. `settled`: killed commands were run again, so what the round made is there. */
  async #look(ran: readonly Ran[], settled: boolean): Promise<void> {
    const uncertain = new Set<string>();
    const born = new Set<string>();
    for (const { action, outcome } of ran) {
      if (action.subject === undefined || !CHANGING.includes(action.verb)) continue;
      if (outcome.exitCode === 0) {
        uncertain.delete(action.subject);
        this.#note(action);
      } else {
        uncertain.add(action.subject);
        if (action.made !== undefined) born.add(action.subject);
      }
    }
    const listing = settled ? await this.#oracle.list() : await this.#listByCommand();
    this.#oracle.adopt(listing, uncertain, born);
    await this.#oracle.verifyAll();
    const touched = new Set(ran.flatMap(({ action }) => action.touches));
    const { random } = this.#parts;
    await this.#read(listing, (name) => touched.has(name) || (settled && random.float() < 0.1), settled);
  }

  /** What the success of a command means. */
  #note({ verb, subject = '', made }: Action): void {
    const { volumes, snapshots, undecided } = this.#model;
    if (verb === 'snapshot delete') {
      snapshots.delete(subject);
      undecided.delete(subject);
    }
    if (made !== undefined && 'snapshot' in made) snapshots.set(subject, snapshots.get(subject) ?? made.snapshot);
    if (made !== undefined && 'volume' in made) volumes.set(subject, volumes.get(subject) ?? made.volume);
    const volume = volumes.get(subject);
    if (volume !== undefined) volume.status = verb === 'volume delete' ? 'deleted' : 'available';
  }

  async #listByCommand(): Promise<Listing> {
    const [volumes, snapshots] = await Promise.all([
      this.#mustRun(['volume', 'list', '--deleted', '--json']),
      this.#mustRun(['snapshot', 'list', '--json']),
    ]);
    return { ...(documentOf(volumes) as object), ...(documentOf(snapshots) as object) } as Listing;
  }

  /** Reads snapshots and volumes through the independent reader; once settled, a volume has the state found. */
  async #read(listing: Listing, isWanted: (name: string) => boolean, settled: boolean): Promise<void> {
    for (const snapshot of this.#model.snapshots.values()) {
      const isIt = ({ name, state }: Listing['snapshots'][number]): boolean =>
        name === snapshot.name && state === 'completed';
      const listed = listing.snapshots.find(isIt);
      if (listed !== undefined && isWanted(snapshot.name))
        await this.#oracle.checkSnapshot(snapshot, listed.snapshotId);
    }
    for (const volume of this.#model.volumesIn('available')) {
      const listed = listing.volumes.find(({ name }) => name === volume.name);
      if (listed === undefined || !isWanted(volume.name)) continue;
      const state = await this.#oracle.checkVolume(volume, listed.volumeId);
      if (settled) volume.possible = oneState(state);
    }
  }

  /** Runs a command again that was killed, or gave way to another; undefined when there is no need. */
  async #settle({ action, outcome }: Ran, actions: readonly Action[]): Promise<Outcome | undefined> {
    if (action.verb === 'export') {
      await this.#settleExport(action, actions);
      return undefined;
    }
    if (outcome.exitCode === 0) {
      if (action.target !== undefined) this.#mustHold(action, action.target);
      return undefined;
    }
    const volume = this.#model.volumes.get(action.subject ?? '');
    if (action.verb === 'volume undelete' && volume?.status === 'available') return undefined;
    // What a kill left behind stays, now and then, for the rounds to come and for gc.
    const mayStay = ['snapshot create', 'clone', 'gc'].includes(action.verb);
    if (mayStay && this.#parts.random.float() < 0.2) return undefined;
    const again = await this.#again(action, actions);
    if (again.exitCode === 0 && action.target !== undefined) this.#mustHold(action, action.target);
    return again;
  }

  async #again(action: Action, actions: readonly Action[]): Promise<Outcome> {
    const again = await this.#runner.run([...action.again, '--lock-timeout', LOCK_TIMEOUT]);
    this.story.push(`again: ${describeRun(again)}`);
    const mayRefuse = isContested(action, actions) && (again.exitCode === 3 || again.exitCode === 4);
    if (again.exitCode !== 0 && !mayRefuse) throw new Loss(`a command fails after a kill: ${describeRun(again)}`);
    this.#learn(action.verb, again);
    return again;
  }

  /** After an import that succeeded, the volume holds what the image does, and nothing else. */
  #mustHold({ subject = '' }: Action, target: Uint32Array): void {
    const volume = this.#model.volumes.get(subject);
    if (volume !== undefined) volume.possible = oneState(target);
  }

  async #settleExport(action: Action, actions: readonly Action[]): Promise<void> {
    const { folder } = this.#parts;
    const { out = '', touches } = action;
    const snapshot = this.#model.snapshots.get(touches[0] ?? '');
    if (!existsSync(out)) await this.#again(action, actions);
    else if (this.#litterOf(out).length > 0) await this.#exportedAlready(action);
    if (snapshot !== undefined && existsSync(out)) this.#oracle.checkExport(snapshot, out);
    const litter = this.#litterOf(out);
    if (existsSync(out) && litter.length > 0) throw new Loss(`a finished export left ${litter.join(', ')}`);
    for (const name of [...litter, basename(out)]) rmSync(join(folder, name), { force: true });
  }

  #litterOf(out: string): string[] {
    return readdirSync(this.#parts.folder).filter((name) => name.startsWith('.') && name.includes(basename(out)));
  }

  /** Killed after the file had its name: the same command says that it is there, and tidies up. */
  async #exportedAlready(action: Action): Promise<void> {
    const again = await this.#runner.run([...action.again, '--lock-timeout', LOCK_TIMEOUT]);
    this.story.push(`again: ${describeRun(again)}`);
    if (again.exitCode !== 4) throw new Loss(`an export that is there is not told as such: ${describeRun(again)}`);
  }

  async #mustRun(words: readonly string[]): Promise<Outcome> {
    const outcome = await this.#runner.run([...words, '--lock-timeout', LOCK_TIMEOUT]);
    this.story.push(describeRun(outcome));
    if (outcome.exitCode !== 0) throw new Loss(`a command fails: ${describeRun(outcome)}`);
    return outcome;
  }
}

/** Another command of the round works on the same thing, and deletes or makes it. */
function isContested(action: Action, actions: readonly Action[]): boolean {
  return actions.some(
    (other) => other !== action && CHANGING.includes(other.verb) && action.touches.includes(other.subject ?? ''),
  );
}

/** A command that was not killed succeeds, or gives way to another one of its round. */
function judge(action: Action, outcome: Outcome, actions: readonly Action[]): void {
  if (outcome.killed || outcome.exitCode === 0) return;
  const isLenient = isContested(action, actions) && [3, 4, 5].includes(outcome.exitCode ?? -1);
  if (!isLenient) throw new Loss(`a command fails beside others that are killed: ${describeRun(outcome)}`);
}
