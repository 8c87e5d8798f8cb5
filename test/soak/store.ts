/** Where a soak's store is: a directory, or a bucket of an S3 server with a way to it that is slow, fails, or is cut. */
import { cpSync, readdirSync, renameSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../src/core/kit/index.ts';
import { directoryStore, openObjectStore, withRetry, type ObjectStore } from '../../src/core/objectstore/index.ts';
import { S3_ENVIRONMENT, type Radosgw } from '../support/radosgw.ts';
import { byChance, S3Proxy, type WayFault, type WayOptions } from '../support/s3-proxy.ts';

/** Who is writing, by the pid of a run or by the name that `RUN_NAME` gave it, and what: once as it begins, once as it ends. */
export type WriteListener = (by: string, what: string) => void;

/** The variable of a run's environment that names it to whoever watches a store. */
export const RUN_NAME = 'AWS_SDK_UA_APP_ID';

export interface SoakStore {
  /** For `--store`. */
  readonly where: string;
  /** As the soak itself sees it, past whatever lies on the way. */
  open(): Promise<ObjectStore>;
  /** Nobody reaches it from now on, until `bring`. */
  take(): void;
  bring(): void;
  /** What it holds now, in another store that belongs to `folder`. */
  copyTo(folder: string): Promise<SoakStore>;
  /** Files that nobody needs, left by writers that are dead. */
  litter(): string[];
  /** The store must be there. */
  watch(listener: WriteListener): Disposable;
  /** It is not needed any more. */
  remove(): Promise<void>;
}

/** Makes a store, the only one of a folder. */
export type SoakStores = (folder: string) => Promise<SoakStore>;

export const directoryStores: SoakStores = async (folder) =>
  Promise.resolve(new DirectoryOfSoak(join(folder, 'store')));

class DirectoryOfSoak implements SoakStore {
  readonly where: string;

  constructor(where: string) {
    this.where = where;
  }

  async open(): Promise<ObjectStore> {
    return await Promise.resolve(directoryStore({ path: this.where }));
  }

  take(): void {
    renameSync(this.where, `${this.where}-away`);
  }

  bring(): void {
    renameSync(`${this.where}-away`, this.where);
  }

  async copyTo(folder: string): Promise<SoakStore> {
    const copy = await directoryStores(folder);
    cpSync(this.where, copy.where, { recursive: true });
    return copy;
  }

  litter(): string[] {
    return readdirSync(join(this.where, '@tmp'));
  }

  watch(listener: WriteListener): Disposable {
    const watcher = watch(join(this.where, '@tmp'), (event, name) => {
      if (event === 'rename' && name !== null) listener(name.split('-')[1] ?? '', name);
    });
    return {
      [Symbol.dispose]: () => {
        watcher.close();
      },
    };
  }

  async remove(): Promise<void> {
    rmSync(this.where, { recursive: true, force: true });
    await Promise.resolve();
  }
}

export interface S3Way {
  readonly server: Radosgw;
  /** Added to each request. */
  readonly latencyMs: number;
  /** Part of the requests that fail, 0 to 1. */
  readonly errors: number;
  readonly random: Random;
}

const FAULTS: readonly WayFault[] = ['busy', 'conflict', 'cut', 'lost', 'half'];
const COPIES = 8;

/** Stores in the server's bucket, each with a way of its own. Runs need `S3_ENVIRONMENT`: this process's own gets it. */
export function s3Stores({ server, latencyMs, errors, random }: S3Way): SoakStores {
  Object.assign(process.env, S3_ENVIRONMENT);
  let stores = 0;
  const fault = byChance(random, errors, FAULTS);
  const make = async (): Promise<SoakStore> => {
    const number = ++stores;
    const way = await S3Proxy.start({ port: server.port, latencyMs, fault });
    return new BucketOfSoak({ server, way, fault, make, prefix: `soak-${String(number)}` });
  };
  return make;
}

interface BucketParts {
  readonly server: Radosgw;
  readonly way: S3Proxy;
  readonly fault: NonNullable<WayOptions['fault']>;
  readonly prefix: string;
  /** Another one in the same bucket. */
  readonly make: () => Promise<SoakStore>;
}

class BucketOfSoak implements SoakStore {
  readonly #parts: BucketParts;
  readonly where: string;

  constructor(parts: BucketParts) {
    this.#parts = parts;
    this.where = parts.server.storeUrl(parts.prefix, parts.way.port);
  }

  async open(): Promise<ObjectStore> {
    const { server, prefix } = this.#parts;
    return withRetry(await openObjectStore(server.storeUrl(prefix)));
  }

  take(): void {
    this.#parts.way.fault = () => 'cut';
  }

  bring(): void {
    this.#parts.way.fault = this.#parts.fault;
  }

  async copyTo(): Promise<SoakStore> {
    const copy = await this.#parts.make();
    const [from, to] = [await this.open(), await copy.open()];
    const keys = (await Array.fromAsync(from.list(''))).map(({ key }) => key);
    await inLanes(keys, async (key) => {
      const object = await from.get(key);
      if (object !== undefined) await to.put(key, object.bytes);
    });
    await Promise.all([from.close(), to.close()]);
    return copy;
  }

  litter(): string[] {
    return [];
  }

  watch(listener: WriteListener): Disposable {
    const { way } = this.#parts;
    way.onPut = ({ agent, path, index }) => {
      const by = /\bapp\/([\w-]+)/.exec(agent)?.[1] ?? '';
      listener(by, `${String(index)} ${path}`);
    };
    return {
      [Symbol.dispose]: () => {
        way.onPut = undefined;
      },
    };
  }

  async remove(): Promise<void> {
    const store = await this.open();
    const keys = (await Array.fromAsync(store.list(''))).map(({ key }) => key);
    await inLanes(keys, async (key) => store.delete(key));
    await store.close();
    await this.#parts.way[Symbol.asyncDispose]();
  }
}

async function inLanes(keys: readonly string[], work: (key: string) => Promise<unknown>): Promise<void> {
  const left = keys.values();
  const lane = async (): Promise<void> => {
    for (const key of left) await work(key);
  };
  await Promise.all(Array.from({ length: COPIES }, lane));
}
