/**
 * Kills of a gateway that shadows an image: `npm run soak -- --shadow`. A client writes stamped pages over NBD, also while the
 * image is read for the first time and while the store is away; the gateway is killed with SIGKILL at a random moment, now and
 * then somebody writes to the image while nobody serves it, and it is started again. The image must have everything that was
 * acknowledged, and once the store has caught up it must hold just what the image holds.
 */
import { closeSync, openSync, readFileSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { runSgw, sgw } from '../run-sgw.ts';
import { directoryStores, type SoakStore, type SoakStores } from '../store.ts';
import { placeIn, type Place } from '../verb.ts';
import { KillableGateway } from '../served/killable-gateway.ts';
import { NbdClient } from '../served/nbd-client.ts';
import { sendStamped } from '../served/stamped-load.ts';
import { PAGE, StampBook, stamped, stampOf } from '../served/stamps.ts';

const PAGES = 8192;
const SETTLES_MS = 120_000;

export interface ShadowCounts {
  rounds: number;
  kills: number;
  /** The store was away when the gateway was killed. */
  outages: number;
  /** Somebody else wrote to the image between two runs. */
  behind: number;
  /** Rounds in which writes were not logged. */
  passThroughs: number;
  writes: number;
  flushes: number;
  snapshots: number;
  /** Times that store and image were compared. */
  compared: number;
}

export const shadowCounts = (): ShadowCounts => ({
  ...{ rounds: 0, kills: 0, outages: 0, behind: 0, passThroughs: 0 },
  ...{ writes: 0, flushes: 0, snapshots: 0, compared: 0 },
});

export interface ShadowOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: ShadowCounts;
  readonly goesOn: () => boolean;
  readonly onRound?: (line: string) => void;
  /** Default directories. */
  readonly stores?: SoakStores;
}

/** Runs rounds until `goesOn` says no. @throws Error at the first loss */
export async function runShadow(options: ShadowOptions): Promise<void> {
  const store = await (options.stores ?? directoryStores)(options.folder);
  const era = new ShadowEra(options, store);
  try {
    await era.begin();
    while (options.goesOn()) await era.round();
    await era.compare();
    await store.remove();
  } finally {
    era.destroy();
  }
}

interface ExportState {
  readonly state: string;
  readonly reason: string | null;
  readonly dirtyBytes: number | null;
  readonly shadow: { readonly phase: string } | null;
}

class ShadowEra {
  readonly #options: ShadowOptions;
  readonly #place: Place;
  readonly #home: string;
  readonly #store: SoakStore;
  readonly #image: string;
  readonly #book = new StampBook(PAGES);
  readonly #gateway: KillableGateway;

  constructor(options: ShadowOptions, store: SoakStore) {
    const { folder } = options;
    this.#options = options;
    this.#place = placeIn(folder);
    this.#home = join(folder, 'home');
    this.#store = store;
    this.#image = join(folder, 'disk.img');
    this.#gateway = new KillableGateway(this.#place, this.#home);
  }

  async begin(): Promise<void> {
    writeFileSync(this.#image, Buffer.alloc(PAGES * PAGE));
    for (let page = 0; page < PAGES / 2; page += 16) this.#writeBehind(page, 16);
    await sgw(this.#place, 'activate', '--name', 'shadow', '--mode', 'shadowing', '--store', this.#store.where);
    await this.#gateway.start();
    await sgw(this.#place, 'volume', 'attach', 'disk', '--image', this.#image);
    await sgw(this.#place, 'volume', 'configure', 'disk', '--buffer', '64MiB', '--seal-interval', '1s');
  }

  async round(): Promise<void> {
    const { random, counts, onRound } = this.#options;
    counts.rounds += 1;
    const isOut = random.float() < 0.3;
    const client = await NbdClient.connect(join(this.#home, 'nbd.sock'), 'disk');
    if (isOut) this.#store.take();
    const load = sendStamped(client, { random, book: this.#book, counts });
    const snapshot = !isOut && random.float() < 0.2 ? this.#snapshot() : Promise.resolve();
    await delay(100 + random.float() * (isOut ? 4000 : 1500));
    if (isOut && (await this.#state()).state === 'pass-through') counts.passThroughs += 1;
    // Back, so that a kill meets the sending as well.
    const comesBack = isOut && random.float() < 0.5;
    if (comesBack) {
      this.#store.bring();
      await delay(random.float() * 1500);
    }
    await this.#gateway.kill();
    const sent = await load;
    await snapshot;
    client.close();
    counts.kills += 1;
    if (isOut) counts.outages += 1;
    if (isOut && !comesBack) this.#store.bring();
    this.#book.checkAfterKill(this.#stamps());
    const isBehind = random.float() < 0.25;
    if (isBehind) {
      // Nearer to the last write of the gateway nobody can tell who it was.
      await delay(2500);
      for (let i = 0; i < 5; i++) this.#writeBehind(Math.floor(random.float() * (PAGES - 4)), 4);
      counts.behind += 1;
    }
    await this.#gateway.start();
    if (random.float() < 0.4) await this.compare();
    const how = [isOut ? ', store away' : '', isBehind ? ', written to behind' : ''].join('');
    onRound?.(`round ${counts.rounds}: ${sent} writes${how}`);
  }

  /** Nobody writes: once the store has caught up, a snapshot is the image. */
  async compare(): Promise<void> {
    await this.#settled();
    const file = join(this.#options.folder, 'out.img');
    rmSync(file, { force: true });
    await sgw(this.#place, 'snapshot', 'create', 'disk', '--name', 'check', '--wait');
    await sgw(this.#place, 'snapshot', 'export', 'check', file);
    await sgw(this.#place, 'snapshot', 'delete', 'check', '--yes');
    const [found, image] = [readFileSync(file), readFileSync(this.#image)];
    for (let page = 0; page < PAGES; page++) {
      const at = page * PAGE;
      if (!found.subarray(at, at + PAGE).equals(image.subarray(at, at + PAGE)))
        throw new Error(`page ${page} of the store is not that of the image`);
    }
    rmSync(file);
    this.#options.counts.compared += 1;
  }

  destroy(): void {
    this.#gateway.destroy();
  }

  async #settled(): Promise<void> {
    const end = performance.now() + SETTLES_MS;
    for (;;) {
      const state = await this.#state();
      if (state.state === 'available' && state.shadow?.phase === 'steady' && state.dirtyBytes === 0) return;
      if (performance.now() > end) throw new Error(`the store does not catch up: ${JSON.stringify(state)}`);
      await delay(100);
    }
  }

  async #state(): Promise<ExportState> {
    const { exports } = JSON.parse(await sgw(this.#place, 'gateway', 'show', '--json')) as { exports: ExportState[] };
    const [only] = exports;
    if (only === undefined) throw new Error('the export is gone');
    return only;
  }

  async #snapshot(): Promise<void> {
    const { counts } = this.#options;
    const ran = await runSgw(this.#place, ['snapshot', 'create', 'disk', '--name', `s${counts.rounds}`]);
    if (ran.exitCode === 0) counts.snapshots += 1;
  }

  /** As somebody who knows nothing of the gateway. */
  #writeBehind(page: number, pages: number): void {
    const write = this.#book.send(page, pages, false);
    const fd = openSync(this.#image, 'r+');
    try {
      const bytes = stamped(page, pages, write.number);
      writeSync(fd, bytes, 0, bytes.length, page * PAGE);
    } finally {
      closeSync(fd);
    }
    write.state = 'acknowledged';
  }

  #stamps(): number[] {
    const fd = openSync(this.#image, 'r');
    try {
      const bytes = Buffer.alloc(PAGE);
      return Array.from({ length: PAGES }, (_, page) => {
        readSync(fd, bytes, 0, PAGE, page * PAGE);
        return stampOf(page, bytes);
      });
    } finally {
      closeSync(fd);
    }
  }
}
