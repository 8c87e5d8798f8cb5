/**
 * Kills of a gateway daemon under load: `npm run soak -- --served`. A client writes stamped pages over NBD, the daemon is killed
 * with SIGKILL at a random moment, sometimes its cache is dropped, it is started again, and everything that was acknowledged
 * must be there. Now and then the whole home is lost: a copy of the store must open elsewhere at an exact state from before.
 */
import { closeSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { runSgw, sgw } from '../run-sgw.ts';
import { directoryStores, type SoakStore, type SoakStores } from '../store.ts';
import { placeIn, type Place } from '../verb.ts';
import { KillableGateway } from './killable-gateway.ts';
import { NbdClient } from './nbd-client.ts';
import { sendStamped } from './stamped-load.ts';
import { PAGE, StampBook, stampOf } from './stamps.ts';

const PAGES = 4096;

export interface ServedCounts {
  rounds: number;
  kills: number;
  cachesDropped: number;
  homesLost: number;
  writes: number;
  flushes: number;
  snapshots: number;
}

export const servedCounts = (): ServedCounts => ({
  rounds: 0,
  kills: 0,
  cachesDropped: 0,
  homesLost: 0,
  writes: 0,
  flushes: 0,
  snapshots: 0,
});

export interface ServedOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: ServedCounts;
  readonly goesOn: () => boolean;
  readonly onRound?: (line: string) => void;
  /** Default directories. */
  readonly stores?: SoakStores;
}

/** Runs rounds until `goesOn` says no. @throws Error at the first loss */
export async function runServed(options: ServedOptions): Promise<void> {
  const store = await (options.stores ?? directoryStores)(options.folder);
  const era = new ServedEra(options, store);
  try {
    await era.begin();
    while (options.goesOn()) await era.round();
    await era.end();
    await store.remove();
  } finally {
    era.destroy();
  }
}

class ServedEra {
  readonly #options: ServedOptions;
  readonly #place: Place;
  readonly #home: string;
  readonly #book = new StampBook(PAGES);
  readonly #gateway: KillableGateway;
  readonly #store: SoakStore;
  #snapshotNumber = 0;

  constructor(options: ServedOptions, store: SoakStore) {
    this.#options = options;
    this.#store = store;
    this.#place = placeIn(options.folder);
    this.#home = join(options.folder, 'home');
    this.#gateway = new KillableGateway(this.#place, this.#home);
  }

  async begin(): Promise<void> {
    await this.#sgw('activate', '--name', 'served', '--store', this.#store.where);
    await this.#sgw('volume', 'create', 'disk', '--size', String(PAGES * PAGE));
    await this.#gateway.start();
    await this.#sgw('volume', 'attach', 'disk');
    await this.#sgw('volume', 'configure', 'disk', '--buffer', '64MiB', '--seal-interval', '1s');
  }

  async round(): Promise<void> {
    const { random, counts, onRound } = this.#options;
    counts.rounds += 1;
    const losesHome = random.float() < 0.15;
    // So that what is in the store is a state from now on.
    if (losesHome) await this.#uploadAll();
    const client = await NbdClient.connect(join(this.#home, 'nbd.sock'), 'disk');
    const load = sendStamped(client, { random, book: this.#book, counts });
    const snapshot = random.float() < 0.15 ? this.#snapshot() : Promise.resolve();
    await delay(100 + random.float() * 1500);
    await this.#gateway.kill();
    const sent = await load;
    await snapshot;
    client.close();
    counts.kills += 1;
    if (losesHome) await this.#openElsewhere();
    const dropsCache = random.float() < 0.5;
    if (dropsCache) {
      rmSync(join(this.#home, 'cache'), { recursive: true, force: true });
      counts.cachesDropped += 1;
    }
    await this.#gateway.start();
    this.#book.checkAfterKill(await this.#readAll());
    onRound?.(
      `round ${counts.rounds}: ${sent} writes${dropsCache ? ', cache dropped' : ''}${losesHome ? ', home lost' : ''}`,
    );
  }

  async #uploadAll(): Promise<void> {
    await this.#sgw('snapshot', 'create', 'disk', '--name', 'all', '--wait');
    await this.#sgw('snapshot', 'delete', 'all', '--yes');
  }

  /** Everything is uploaded and the gateway ends in order; the store alone holds the last state. */
  async end(): Promise<void> {
    await this.#sgw('volume', 'detach', 'disk', '--force');
    await this.#sgw('gateway', 'stop');
    await this.#exportAndCheck(this.#place, (pages) => {
      this.#book.checkAfterKill(pages);
    });
    await this.#sgw('store', 'scrub');
    const { snapshots } = JSON.parse(await this.#sgw('snapshot', 'list', '--json')) as {
      snapshots: { name: string; state: string }[];
    };
    const unsettled = snapshots.filter(({ state }) => state === 'pending');
    if (unsettled.length > 0)
      throw new Error(`snapshots stay pending: ${unsettled.map(({ name }) => name).join(', ')}`);
  }

  destroy(): void {
    this.#gateway.destroy();
  }

  /** May be cut short by the kill; what it leaves pending must be settled after the next start. */
  async #snapshot(): Promise<void> {
    this.#snapshotNumber += 1;
    const ran = await runSgw(this.#place, ['snapshot', 'create', 'disk', '--name', `s${this.#snapshotNumber}`]);
    if (ran.exitCode === 0) this.#options.counts.snapshots += 1;
  }

  async #readAll(): Promise<number[]> {
    const client = await NbdClient.connect(join(this.#home, 'nbd.sock'), 'disk');
    try {
      const stamps: number[] = [];
      for (let page = 0; page < PAGES; page += 64) {
        const bytes = await client.read(page * PAGE, 64 * PAGE);
        for (let i = 0; i < 64; i++) stamps.push(stampOf(page + i, bytes.subarray(i * PAGE, (i + 1) * PAGE)));
      }
      return stamps;
    } finally {
      client.close();
    }
  }

  /** The home is gone: a copy of the store opens in another one, at a state that the volume had. */
  async #openElsewhere(): Promise<void> {
    const { folder, counts } = this.#options;
    const other = join(folder, 'elsewhere');
    rmSync(other, { recursive: true, force: true });
    mkdirSync(other);
    const copy = await this.#store.copyTo(other);
    const place = placeIn(other);
    await sgw(place, 'activate', '--name', 'elsewhere', '--store', copy.where);
    await this.#exportAndCheck(place, (pages) => {
      this.#book.checkPrefix(pages, this.#book.history(), 0);
    });
    await copy.remove();
    rmSync(other, { recursive: true, force: true });
    counts.homesLost += 1;
  }

  async #exportAndCheck(place: Place, check: (pages: number[]) => void): Promise<void> {
    const file = join(place.folder, 'out.img');
    rmSync(file, { force: true });
    await sgw(place, 'snapshot', 'create', 'disk', '--name', 'check');
    await sgw(place, 'snapshot', 'export', 'check', file);
    const fd = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(PAGE);
      const stamps = Array.from({ length: PAGES }, (_, page) => {
        readSync(fd, bytes, 0, PAGE, page * PAGE);
        return stampOf(page, bytes);
      });
      check(stamps);
    } finally {
      closeSync(fd);
    }
    await sgw(place, 'snapshot', 'delete', 'check', '--yes');
  }

  async #sgw(...words: string[]): Promise<string> {
    return await sgw(this.#place, ...words);
  }
}
