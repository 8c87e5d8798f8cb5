/**
 * Outages of the object store under load: `npm run soak -- --outage`. A client writes stamped pages over NBD without a break while
 * the store fails, gets slow, is full, refuses, hangs or is gone. Each time: writing goes on until the upload buffer is full, then it
 * waits, and no request fails; the status says what is the matter; when the store is back all goes on. In the end
 * the store holds exactly what was acknowledged, and the gateway's memory stayed within its bound.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { NbdClient } from '../served/nbd-client.ts';
import { PAGE, stamped, stampOf } from '../served/stamps.ts';
import { sgw } from '../run-sgw.ts';
import { directoryStores, type SoakStore, type SoakStores } from '../store.ts';
import { placeIn, type Place } from '../verb.ts';
import type { StoreMode } from './gateway.ts';

const GATEWAY = join(import.meta.dirname, 'gateway.ts');
const PAGES = 16_384;
const IN_FLIGHT = 16;
const PAGES_OF_A_WRITE = 16;
const BUFFER_BYTES = 64 << 20;
/** What a gateway with these settings may take beyond what it took before the first outage. */
const GROWTH_MIB_MAX = 256;
const READY_MS = 60_000;
const SETTLES_MS = 120_000;

/** `gone`: the folder of the store is away, or the way to its server is cut, for real. */
export type Outage = Exclude<StoreMode, 'well'> | 'gone';
/** Those in which nothing can be uploaded. */
const STOPPING: readonly Outage[] = ['full', 'denied', 'hanging', 'gone'];

export interface OutageCounts {
  outages: number;
  writes: number;
  /** Outages in which the buffer was full, so that writing stood still. */
  stoodStill: number;
  /** The longest that a write took, ms. */
  longestMs: number;
  rssBeforeMib: number;
  rssMaxMib: number;
}

export const outageCounts = (): OutageCounts => ({
  ...{ outages: 0, writes: 0, stoodStill: 0, longestMs: 0 },
  ...{ rssBeforeMib: 0, rssMaxMib: 0 },
});

export interface OutageOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: OutageCounts;
  /** What happens, and for how long, one after the other. */
  readonly plan: Iterable<{ readonly outage: Outage; readonly forMs: number }>;
  readonly goesOn?: () => boolean;
  readonly onOutage?: (line: string) => void;
  /** Default directories. */
  readonly stores?: SoakStores;
}

/** @throws Error at the first loss, failed request, or figure out of bounds */
export async function runOutages(options: OutageOptions): Promise<void> {
  const store = await (options.stores ?? directoryStores)(options.folder);
  const scene = new Scene(options, store);
  try {
    await scene.begin();
    for (const { outage, forMs } of options.plan) {
      if (options.goesOn?.() === false) break;
      await scene.suffer(outage, forMs);
    }
    await scene.end();
    await store.remove();
  } finally {
    scene.destroy();
  }
}

class Scene {
  readonly #options: OutageOptions;
  readonly #place: Place;
  readonly #home: string;
  readonly #store: SoakStore;
  /** The write that each page holds, acknowledged. */
  readonly #pages = new Float64Array(PAGES);
  #gateway: ChildProcessByStdio<Writable, Readable, Readable> | undefined;
  #said = '';
  readonly #answers: string[] = [];
  #load: Promise<void> | undefined;
  #loadFailure: Error | undefined;
  #isLoading = true;
  #isAway = false;

  constructor(options: OutageOptions, store: SoakStore) {
    this.#options = options;
    this.#place = placeIn(options.folder);
    this.#home = join(options.folder, 'home');
    this.#store = store;
  }

  async begin(): Promise<void> {
    await this.#sgw('activate', '--name', 'outage', '--store', this.#store.where);
    await this.#sgw('configure', '--cache', '64MiB', '--cache-ram', '16MiB');
    await this.#sgw('volume', 'create', 'disk', '--size', String(PAGES * PAGE));
    await this.#sgw('volume', 'configure', 'disk', '--buffer', String(BUFFER_BYTES), '--seal-interval', '1s');
    await this.#start();
    await this.#sgw('volume', 'attach', 'disk');
    this.#load = this.#write();
    this.#load.catch(() => undefined);
    const { counts } = this.#options;
    await this.#until('writing goes on', () => counts.writes > 2000);
    counts.rssBeforeMib = this.#rssMib();
  }

  /** One outage, and the recovery from it. */
  async suffer(outage: Outage, forMs: number): Promise<void> {
    const { counts, onOutage } = this.#options;
    const before = counts.writes;
    const endMs = performance.now() + forMs;
    const startedAt = Date.now();
    await this.#strike(outage);
    let atStandstill = false;
    let reason: string | null = null;
    while (performance.now() < endMs) {
      const writes = counts.writes;
      await delay(Math.min(1000, Math.max(1, endMs - performance.now())));
      this.#sample();
      const state = await this.#exportState();
      reason = state.reason ?? reason;
      if (state.reason !== null) checkReason(outage, state, startedAt);
      atStandstill ||= counts.writes === writes && state.reason?.includes('upload buffer is full') === true;
    }
    const during = counts.writes - before;
    if (during === 0) throw new Error(`${outage}: nothing was written while there was room`);
    if (STOPPING.includes(outage)) {
      if (!atStandstill)
        throw new Error(`${outage}: the buffer of ${String(BUFFER_BYTES)} bytes did not fill in ${String(forMs)} ms`);
      if (reason === null) throw new Error(`${outage}: the status did not say anything`);
      counts.stoodStill += 1;
    }
    await this.#strike('well');
    const atEnd = counts.writes;
    await this.#until(`${outage}: writing goes on`, () => counts.writes > atEnd + 2000);
    await this.#until(
      `${outage}: the status is well again`,
      async () => (await this.#exportState()).state === 'available',
    );
    counts.outages += 1;
    onOutage?.(
      `${outage} for ${String(forMs / 1000)} s: ${String(during)} writes meanwhile, ${String(counts.rssMaxMib)} MiB at most so far, ${reason ?? 'nothing to tell'}`,
    );
  }

  /** The store alone, opened by another home, holds exactly what was acknowledged. */
  async end(): Promise<void> {
    const { counts, folder } = this.#options;
    this.#isLoading = false;
    await this.#load;
    this.#sample();
    await this.#sgw('volume', 'detach', 'disk', '--force');
    const gateway = this.#gateway;
    gateway?.stdin.end();
    await new Promise<unknown>((resolve) => {
      if (gateway?.exitCode === null) gateway.once('exit', resolve);
      else resolve(undefined);
    });
    const other = placeIn(folder, 'elsewhere');
    const image = join(folder, 'out.img');
    for (const words of [
      ['activate', '--name', 'elsewhere', '--store', this.#store.where],
      ['snapshot', 'create', 'disk', '--name', 'check'],
      ['snapshot', 'export', 'check', image],
      ['store', 'scrub'],
    ])
      await sgw(other, ...words);
    const bytes = readFileSync(image);
    for (let page = 0; page < PAGES; page++) {
      const found = stampOf(page, bytes.subarray(page * PAGE, (page + 1) * PAGE));
      if (found !== this.#pages[page])
        throw new Error(`page ${String(page)} holds write ${String(found)}, not ${String(this.#pages[page])}`);
    }
    const growth = counts.rssMaxMib - counts.rssBeforeMib;
    if (growth > GROWTH_MIB_MAX) throw new Error(`nothing was lost, but the gateway grew by ${String(growth)} MiB`);
  }

  destroy(): void {
    this.#isLoading = false;
    this.#gateway?.kill('SIGKILL');
  }

  async #start(): Promise<void> {
    const { SGW_HOME: _, ...env } = this.#place.env;
    const gateway = spawn(process.execPath, [GATEWAY, this.#home], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#gateway = gateway;
    gateway.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-20_000);
    });
    createInterface({ input: gateway.stdout }).on('line', (line) => this.#answers.push(line));
    await this.#until('the gateway is ready', () => this.#answers.includes('ready'), READY_MS);
  }

  async #strike(outage: Outage | 'well'): Promise<void> {
    if (outage === 'gone') {
      this.#store.take();
      this.#isAway = true;
      return;
    }
    if (this.#isAway) this.#store.bring();
    this.#isAway = false;
    this.#answers.length = 0;
    this.#gateway?.stdin.write(`${outage}\n`);
    await this.#until(`the store is ${outage}`, () => this.#answers.includes(outage));
  }

  /** Writes without a break; what overlaps is never in flight at once. */
  async #write(): Promise<void> {
    const { random, counts } = this.#options;
    const client = await NbdClient.connect(join(this.#home, 'nbd.sock'), 'disk');
    let number = 0;
    const lane = async (first: number, pages: number): Promise<void> => {
      while (this.#isLoading) {
        const count = 1 + Math.floor(random.float() * PAGES_OF_A_WRITE);
        const page = first + Math.floor(random.float() * (pages - count));
        const own = ++number;
        const startedMs = performance.now();
        await client.write(page * PAGE, stamped(page, count, own));
        counts.longestMs = Math.max(counts.longestMs, Math.round(performance.now() - startedMs));
        this.#pages.fill(own, page, page + count);
        counts.writes += 1;
      }
    };
    const pages = PAGES / IN_FLIGHT;
    try {
      await Promise.all(Array.from({ length: IN_FLIGHT }, async (_, i) => lane(i * pages, pages)));
      await client.flush();
    } catch (error) {
      this.#loadFailure = error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      client.close();
    }
  }

  async #until(what: string, isSo: () => boolean | Promise<boolean>, timeoutMs = SETTLES_MS): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!(await isSo())) {
      if (this.#loadFailure !== undefined)
        throw new Error(`a request failed: ${this.#loadFailure.message}\n${this.#said}`);
      if (this.#gateway !== undefined && this.#gateway.exitCode !== null)
        throw new Error(`the gateway ended: ${this.#said}`);
      if (performance.now() > endMs) throw new Error(`waited in vain until ${what}\n${this.#said}`);
      await delay(100);
      this.#sample();
    }
  }

  #sample(): void {
    const { counts } = this.#options;
    if (counts.rssBeforeMib > 0) counts.rssMaxMib = Math.max(counts.rssMaxMib, this.#rssMib());
  }

  #rssMib(): number {
    const pid = this.#gateway?.pid;
    if (pid === undefined) return 0;
    try {
      const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
      return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      return 0;
    }
  }

  async #exportState(): Promise<ExportState> {
    const { exports } = JSON.parse(await this.#sgw('gateway', 'show', '--json')) as { exports: ExportState[] };
    const [only] = exports;
    if (only === undefined) throw new Error('the export is gone');
    return only;
  }

  async #sgw(...words: string[]): Promise<string> {
    return await sgw(this.#place, ...words);
  }
}

interface ExportState {
  readonly state: string;
  readonly reason: string | null;
}

/** What people read has to be true: since when, within the time of the outage. */
function checkReason(outage: Outage, { state, reason }: ExportState, startedAt: number): void {
  if (state !== 'degraded') throw new Error(`${outage}: the export is ${state}: ${reason ?? ''}`);
  const [, since] = /has failed since (\S+), /.exec(reason ?? '') ?? [];
  if (since !== undefined && Date.parse(since) < startedAt)
    throw new Error(`${outage}: told to be since ${since}, began ${new Date(startedAt).toISOString()}`);
}
