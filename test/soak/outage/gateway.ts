/**
 * A gateway whose store fails on command: `node gateway.ts HOME`. On its standard input it takes a line with what its store
 * is to do from then on; on its standard output it says `ready`, and answers each line once that holds.
 */
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { runGateway } from '../../../src/core/daemon/run/index.ts';
import { SgwError, throwIfAborted } from '../../../src/core/kit/index.ts';
import type {
  CallOptions,
  GetOptions,
  ObjectBody,
  PutBody,
  PutOptions,
  PutResult,
} from '../../../src/core/objectstore/index.ts';
import { StoreLayer, type DeleteOptions } from '../../../src/core/objectstore/layer.ts';

/** `failing`: half of the calls fail. `full`: nothing can be written. `slow`: 50 ms a call. `denied`: nobody is let in. */
export const STORE_MODES = ['well', 'failing', 'slow', 'full', 'denied', 'hanging'] as const;
export type StoreMode = (typeof STORE_MODES)[number];

const SLOW_MS = 50;
let mode: StoreMode = 'well';
let changed = Promise.withResolvers<undefined>();

class CommandedStore extends StoreLayer {
  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    await this.#meet(true, options?.signal);
    return await this.below.put(key, body, options);
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    await this.#meet(false, options?.signal);
    return await this.below.get(key, options);
  }

  override async head(key: string, options?: CallOptions): ReturnType<StoreLayer['head']> {
    await this.#meet(false, options?.signal);
    return await this.below.head(key, options);
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    await this.#meet(true, options?.signal);
    return await this.below.delete(key, options);
  }

  async #meet(isChange: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (mode === 'slow') await delay(SLOW_MS);
    if (mode === 'failing' && Math.random() < 0.5)
      throw new SgwError('unavailable', 'store-error', 'the store answers 500');
    if (mode === 'full' && isChange)
      throw new SgwError('exhausted', 'system-enospc', 'there is no space left in the store');
    if (mode === 'denied') throw new SgwError('denied', 'store-denied', 'the store does not know these credentials');
    while (mode === 'hanging') {
      throwIfAborted(signal);
      await Promise.race([changed.promise, delay(100)]);
    }
  }
}

const nothing = (): void => undefined;
const ending = new AbortController();
createInterface({ input: process.stdin })
  .on('line', (line) => {
    mode = STORE_MODES.find((known) => known === line) ?? 'well';
    changed.resolve(undefined);
    changed = Promise.withResolvers();
    process.stdout.write(`${mode}\n`);
  })
  .on('close', () => {
    ending.abort(new SgwError('aborted', 'interrupted', 'the test has ended'));
  });

await runGateway({
  home: process.argv[2] ?? '',
  lockTimeoutMs: 0,
  log: { level: 'warn', sink: { write: (line) => process.stderr.write(line) } },
  drainTimeoutMs: 60_000,
  background: false,
  args: [],
  secrets: { unlock: async () => Promise.reject(new SgwError('invalid', 'key-missing', 'there is no key')) },
  signal: ending.signal,
  env: process.env,
  storeLayer: (below) => new CommandedStore(below),
  onLoaded: nothing,
  onReady: () => {
    process.stdout.write('ready\n');
  },
});
