/**
 * Kills of restores to a local image: `npm run soak -- --restore`. An image is restored over garbage, served meanwhile, read and
 * written over NBD, and the daemon is killed with SIGKILL at random; it goes on by itself, or, when the home is lost as well, by
 * `--resume` in a new one. Some restores are of the command alone. In the end the image is the snapshot and the writes.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { runSgw, sgw } from '../run-sgw.ts';
import { KillableGateway } from '../served/killable-gateway.ts';
import { NbdClient } from '../served/nbd-client.ts';
import { PAGE, stamped, stampOf } from '../served/stamps.ts';
import { directoryStores, type SoakStore, type SoakStores } from '../store.ts';
import { placeIn, RUN, type Place } from '../verb.ts';
import { PageBook } from './book.ts';

const PAGES = 24_576;
const PIECE_PAGES = 256;
const IN_FLIGHT = 12;
const LOOKS = 200;
const FIRST_NUMBER = 2;

export interface RestoreCounts {
  /** Kills are rounds. */
  rounds: number;
  restores: number;
  /** Restores whose image was followed by a volume, which held the same in the end. */
  shadowed: number;
  homesLost: number;
  commandKills: number;
  writes: number;
  reads: number;
  looks: number;
}

export const restoreCounts = (): RestoreCounts => ({
  rounds: 0,
  restores: 0,
  shadowed: 0,
  homesLost: 0,
  commandKills: 0,
  writes: 0,
  reads: 0,
  looks: 0,
});

export interface RestoreSoakOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: RestoreCounts;
  readonly goesOn: () => boolean;
  readonly onRound?: (line: string) => void;
  /** Default directories. */
  readonly stores?: SoakStores;
}

/** Runs restores until `goesOn` says no. @throws Error at the first loss */
export async function runRestores(options: RestoreSoakOptions): Promise<void> {
  const store = await (options.stores ?? directoryStores)(options.folder);
  const soak = new RestoreSoak(options, store);
  try {
    await soak.begin();
    while (options.goesOn()) await (options.random.float() < 0.25 ? soak.commandAlone() : soak.served());
    await store.remove();
  } finally {
    soak.destroy();
  }
}

class RestoreSoak {
  readonly #options: RestoreSoakOptions;
  readonly #place: Place;
  readonly #home: string;
  readonly #image: string;
  readonly #store: string;
  #contents: number[] = [];
  #snapshotId = '';
  readonly #gateway: KillableGateway;
  /** Of the gateway: a shadowing one follows the image by a clone of the snapshot. */
  #mode: 'cached' | 'shadowing' = 'cached';
  #export = 'disk';

  constructor(options: RestoreSoakOptions, store: SoakStore) {
    this.#options = options;
    this.#store = store.where;
    this.#place = placeIn(options.folder);
    this.#home = join(options.folder, 'home');
    this.#image = join(options.folder, 'restored.img');
    this.#gateway = new KillableGateway(this.#place, this.#home);
  }

  async begin(): Promise<void> {
    const file = join(this.#options.folder, 'golden.img');
    const bytes = stamped(0, PAGES, 1);
    this.#contents = Array.from({ length: PAGES }, () => 1);
    for (let holes = 0; holes < 20; holes++) {
      const from = this.#integer(PAGES);
      const to = Math.min(PAGES, from + this.#integer(1000));
      bytes.fill(0, from * PAGE, to * PAGE);
      this.#contents.fill(0, from, to);
    }
    writeFileSync(file, bytes);
    await this.#sgw('activate', '--name', 'restores', '--store', this.#store);
    const shown = await this.#sgw('snapshot', 'import', file, '--name', 'v1', '--json');
    this.#snapshotId = (JSON.parse(shown) as { snapshotId: string }).snapshotId;
    rmSync(file);
  }

  destroy(): void {
    this.#gateway.destroy();
  }

  /** Restored by the command, which is killed again and again. */
  async commandAlone(): Promise<void> {
    const { random, counts, onRound } = this.#options;
    writeFileSync(this.#image, random.bytes(10_000));
    let words = ['snapshot', 'restore', 'v1', '--image', this.#image, '--force', '--yes', '--no-snapshot'];
    const rate = ['--rate', `${100 + this.#integer(200)}MiB`];
    for (let kills = 0; ; kills++) {
      const isLast = kills === 4;
      const child = spawn(process.execPath, [RUN, ...words, ...rate], { env: this.#place.env, stdio: 'ignore' });
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      if (!isLast) await Promise.race([delay(300 + random.float() * 1200), ended]);
      if (!isLast && child.exitCode === null) child.kill('SIGKILL');
      const code = await ended;
      if (code === 0) break;
      if (isLast) throw new Error(`the command does not end well: ${words.join(' ')}`);
      counts.rounds += 1;
      counts.commandKills += 1;
      const begun = await this.#hasBegun();
      // Its inode may be that of an image which was restored before.
      if (begun === 'completed' && this.#isWhole()) break;
      if (begun === 'yes') words = ['snapshot', 'restore', this.#snapshotId, '--image', this.#image, '--resume'];
    }
    this.#checkFile(new PageBook(this.#contents, FIRST_NUMBER));
    counts.restores += 1;
    onRound?.(`restore ${counts.restores}: by the command`);
  }

  /** Whether a restore of the image is under way: without the mark, the command had not come to it. */
  async #hasBegun(): Promise<'yes' | 'no' | 'completed'> {
    const words = ['snapshot', 'restore', this.#snapshotId, '--image', this.#image, '--resume', '--timeout'];
    // It is ended as soon as it says which it is: on a busy machine it may not have come so far.
    for (let timeoutMs = 1; ; timeoutMs *= 2) {
      const { exitCode, output } = await runSgw(this.#place, [...words, `${timeoutMs}ms`]);
      if (exitCode === 0 || output.includes('[restore-completed]')) return 'completed';
      if (output.includes('[restore-not-found]') || output.includes('[system-enoent]')) return 'no';
      if (output.includes('What is restored is kept')) return 'yes';
      if (timeoutMs > 60_000) throw new Error(`the restore does not say how it is: ${output}`);
    }
  }

  /** Restored by a daemon, which serves it, and is killed again and again. */
  async served(): Promise<void> {
    const { random, counts, onRound } = this.#options;
    writeFileSync(this.#image, random.bytes(10_000));
    const book = new PageBook(this.#contents, FIRST_NUMBER);
    this.#mode = random.float() < 0.5 ? 'shadowing' : 'cached';
    this.#export = `disk${counts.restores}`;
    await this.#sgw('configure', '--mode', this.#mode);
    await this.#gateway.start();
    const rate = `${5 + this.#integer(40)}MiB`;
    const begin = ['snapshot', 'restore', 'v1', '--image', this.#image, '--attach', '--export-name', this.#export];
    await this.#sgw(...begin, '--force', '--yes', '--no-snapshot', '--rate', rate);
    for (let kills = this.#integer(6); kills > 0 && this.#options.goesOn(); kills--) {
      const client = await this.#connect();
      const load = this.#load(client, book);
      await delay(100 + random.float() * 1200);
      await this.#gateway.kill();
      await load;
      client.close();
      counts.rounds += 1;
      const losesHome = random.float() < 0.25;
      // One that was completed just before needs no resume, and its image is whole.
      if (losesHome && !(await this.#newHome(rate))) break;
      if (!losesHome) await this.#gateway.start();
      await this.#lookAround(book);
      onRound?.(`kill ${counts.rounds} of restore ${counts.restores + 1}${losesHome ? ', home lost' : ''}`);
    }
    const isServed = await this.#isServed();
    if (isServed) await this.#complete();
    const shadow = isServed && this.#mode === 'shadowing' ? await this.#shadow() : undefined;
    if (isServed) await this.#sgw('volume', 'detach', this.#export);
    await this.#sgw('gateway', 'stop');
    if (shadow !== undefined && !shadow.equals(readFileSync(this.#image)))
      throw new Error('the shadow is not the image');
    this.#checkFile(book);
    counts.restores += 1;
    if (shadow !== undefined) counts.shadowed += 1;
  }

  /** What a snapshot of the volume holds that follows the image. */
  async #shadow(): Promise<Buffer> {
    const file = join(this.#options.folder, 'shadow.img');
    const name = `of-${this.#export}`;
    await this.#sgw('snapshot', 'create', this.#export, '--name', name);
    const deadline = Date.now() + 120_000;
    for (;;) {
      const shown = JSON.parse(await this.#sgw('snapshot', 'show', name, '--json')) as { state: string };
      if (shown.state === 'completed') break;
      if (Date.now() > deadline) throw new Error(`the snapshot is not completed: ${JSON.stringify(shown)}`);
      await delay(200);
    }
    await this.#sgw('snapshot', 'export', name, file);
    const bytes = readFileSync(file);
    rmSync(file);
    return bytes;
  }

  async #connect(): Promise<NbdClient> {
    return await NbdClient.connect(join(this.#home, 'nbd.sock'), this.#export);
  }

  /** Nothing is left of the home: the snapshot's id, the store and the image are all that there is. False: it was completed. */
  async #newHome(rate: string): Promise<boolean> {
    rmSync(this.#home, { recursive: true });
    await this.#sgw('activate', '--name', 'restores', '--store', this.#store, '--mode', this.#mode);
    await this.#gateway.start();
    const resume = ['snapshot', 'restore', this.#snapshotId, '--image', this.#image, '--resume', '--attach'];
    const resumed = await runSgw(this.#place, [...resume, '--export-name', this.#export, '--rate', rate]);
    this.#options.counts.homesLost += 1;
    if (resumed.exitCode === 0) return true;
    if (resumed.output.includes('[restore-completed]')) return false;
    throw new Error(`the restore can not be resumed: ${resumed.output}`);
  }

  /** Reads and writes until the connection breaks. */
  async #load(client: NbdClient, book: PageBook): Promise<void> {
    const { random } = this.#options;
    const busy = new Set<number>();
    const underWay = new Set<Promise<void>>();
    const connection = { isBroken: false };
    const lost: Error[] = [];
    while (!connection.isBroken) {
      if (underWay.size >= IN_FLIGHT) await Promise.race(underWay);
      const pages = random.float() < 0.8 ? 1 : 1 + this.#integer(200);
      const page = this.#integer(PAGES - pages);
      const own = Array.from({ length: pages }, (_, i) => page + i);
      if (own.some((one) => busy.has(one))) {
        await delay(0);
        continue;
      }
      for (const one of own) busy.add(one);
      const done = this.#request(client, book, page, pages, lost)
        .catch(() => {
          connection.isBroken = true;
        })
        .then(() => {
          for (const one of own) busy.delete(one);
          underWay.delete(done);
        });
      underWay.add(done);
    }
    await Promise.all(underWay);
    if (lost[0] !== undefined) throw lost[0];
  }

  async #request(client: NbdClient, book: PageBook, page: number, pages: number, lost: Error[]): Promise<void> {
    const { random, counts } = this.#options;
    const kind = random.float();
    if (kind < 0.4) {
      const bytes = await client.read(page * PAGE, pages * PAGE);
      counts.reads += 1;
      try {
        this.#look(book, page, bytes);
      } catch (error) {
        lost.push(error instanceof Error ? error : new Error(String(error)));
      }
      return;
    }
    if (kind < 0.45) {
      await client.flush();
      return;
    }
    const isZero = kind < 0.55;
    const { number, acknowledge } = book.send(page, pages, isZero);
    await (isZero
      ? client.trim(page * PAGE, pages * PAGE)
      : client.write(page * PAGE, stamped(page, pages, number), random.float() < 0.05));
    acknowledge();
    counts.writes += 1;
  }

  #look(book: PageBook, first: number, bytes: Buffer): void {
    for (let i = 0; i * PAGE < bytes.length; i++)
      book.look(first + i, stampOf(first + i, bytes.subarray(i * PAGE, (i + 1) * PAGE)));
  }

  /** Every page that was written since, and some others: to read them all would restore them all. */
  async #lookAround(book: PageBook): Promise<void> {
    const client = await this.#connect();
    try {
      const others = Array.from({ length: LOOKS }, () => this.#integer(PAGES));
      for (const page of [...book.open, ...others]) {
        this.#look(book, page, await client.read(page * PAGE, PAGE));
        this.#options.counts.looks += 1;
      }
    } finally {
      client.close();
    }
  }

  async #isServed(): Promise<boolean> {
    const { exports } = JSON.parse(await this.#sgw('status', '--json')) as { exports: unknown[] };
    return exports.length > 0;
  }

  async #complete(): Promise<void> {
    const deadline = Date.now() + 120_000;
    for (;;) {
      const { exports } = JSON.parse(await this.#sgw('status', '--json')) as {
        exports: { restore: { state: string } | null; reason: string | null }[];
      };
      if (exports[0]?.restore?.state === 'completed') return;
      if (Date.now() > deadline) throw new Error(`the restore does not end: ${JSON.stringify(exports)}`);
      await delay(200);
    }
  }

  #isWhole(): boolean {
    try {
      this.#compare(new PageBook(this.#contents, FIRST_NUMBER));
      return true;
    } catch {
      return false;
    }
  }

  #checkFile(book: PageBook): void {
    this.#compare(book);
    rmSync(this.#image);
  }

  #compare(book: PageBook): void {
    const fd = openSync(this.#image, 'r');
    try {
      const bytes = Buffer.alloc(PIECE_PAGES * PAGE);
      for (let page = 0; page < PAGES; page += PIECE_PAGES) {
        readSync(fd, bytes, 0, bytes.length, page * PAGE);
        this.#look(book, page, bytes);
      }
    } finally {
      closeSync(fd);
    }
  }

  #integer(below: number): number {
    return Math.floor(this.#options.random.float() * below);
  }

  async #sgw(...words: string[]): Promise<string> {
    return await sgw(this.#place, ...words);
  }
}
