/** A directory store on a disk that forgets what was not synced when the power is cut: PROTOCOL C15, contract.ts. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import { directoryStore, type ObjectStore, type PutCondition } from '../../src/core/objectstore/index.ts';
import { ForgetfulDisk } from './forgetful-disk.ts';

const power = vi.hoisted(() => ({ disk: undefined as ForgetfulDisk | undefined }));

vi.mock('node:fs/promises', async (original) => {
  const real: object = await original();
  const names = ['mkdir', 'readdir', 'lstat', 'readlink', 'readFile', 'link', 'symlink', 'rename', 'unlink', 'open'];
  const simulated = names.map((name) => [
    name,
    async (...args: unknown[]) => {
      const calls = power.disk?.calls as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
      return calls[name]?.(...args);
    },
  ]);
  return { ...real, ...(Object.fromEntries(simulated) as object) };
});

const SEED = Number(process.env['SGW_SEED'] ?? 20_261);
const STORE = '/disk/store';
const CUTS = 400;
/** Cuts of one disk, one after the other: what was found after a cut is what is cut again. */
const CUTS_IN_A_ROW = 4;
const CLIENTS = 6;
const COUNTERS = ['head.json', 'v/head.json'];
const OVERWRITTEN = ['v/entry.json', 'gone'];

/** A change that a client asked for, and what it was told. */
interface Asked {
  readonly key: string;
  /** Undefined: a deletion. */
  readonly value: string | undefined;
  readonly condition: 'ifAbsent' | 'ifMatch' | undefined;
  readonly from: number;
  /** Undefined: it was not answered when the power was cut. */
  until?: number;
  answer?: 'done' | 'refused';
}

let clock = 0;
let asked: Asked[] = [];

async function ask(
  key: string,
  value: string | undefined,
  condition: Asked['condition'],
  call: () => Promise<boolean>,
): Promise<void> {
  const one: Asked = { key, value, condition, from: ++clock };
  asked.push(one);
  const isDone = await call();
  one.until = ++clock;
  one.answer = isDone ? 'done' : 'refused';
}

let values = 0;
/** Every value is written once only, and longer than others at random, so that half of one is none. */
function newValue(random: Random): string {
  values += 1;
  return `${values}:${'x'.repeat(Math.floor(random.float() * 300))}:${values}`;
}

async function putAsked(store: ObjectStore, key: string, random: Random, condition?: PutCondition): Promise<void> {
  const value = newValue(random);
  const kind = condition === undefined ? undefined : 'ifAbsent' in condition ? 'ifAbsent' : 'ifMatch';
  await ask(key, value, kind, async () => {
    const result = await store.put(key, Buffer.from(value), condition === undefined ? {} : { condition });
    return result.outcome === 'stored';
  });
}

/** Changes keys until the power is cut. Clients race for the same ones. */
async function work(store: ObjectStore, random: Random): Promise<void> {
  const pick = (keys: readonly string[]): string => keys[Math.floor(random.float() * keys.length)] as string;
  for (let seq = 0; ; seq++) {
    const kind = random.float();
    if (kind < 0.4) {
      await putAsked(store, `v/log/${asked.length - (asked.length % 3)}`, random, { ifAbsent: true });
    } else if (kind < 0.75) {
      const key = pick(COUNTERS);
      const now = await store.head(key);
      await putAsked(store, key, random, now === undefined ? { ifAbsent: true } : { ifMatch: now.etag });
    } else if (kind < 0.9) {
      await putAsked(store, pick(OVERWRITTEN), random);
    } else {
      const key = pick(OVERWRITTEN);
      await ask(key, undefined, undefined, async () => store.delete(key));
    }
  }
}

/** What is there must be the newest answered change, or one that was not over before it or never answered. */
function checkKey(key: string, found: string | undefined): void {
  const changes = asked.filter((one) => one.key === key);
  const standing = changes.filter(
    (one) =>
      one.answer !== 'refused' &&
      !changes.some((later) => later.answer === 'done' && later.from > (one.until ?? Number.POSITIVE_INFINITY)),
  );
  const wasStored = changes.some((one) => one.answer === 'done' && one.value !== undefined);
  const absentIsRight = !wasStored || standing.some((one) => one.value === undefined);
  const isRight = found === undefined ? absentIsRight : standing.some((one) => one.value === found);
  const shown = JSON.stringify(
    changes.slice(-8).map(({ value = 'deleted', ...rest }) => ({ ...rest, value: value.slice(0, 6) })),
  );
  expect(isRight, `${key} reads ${String(found?.slice(0, 6))} after ${shown}`).toBe(true);
  const created = changes.filter((one) => one.condition === 'ifAbsent');
  if (created.length === changes.length) {
    expect(created.filter(({ answer }) => answer === 'done').length, `creators of ${key}`).toBeLessThanOrEqual(1);
    // Whoever was told that it exists acted upon that.
    if (created.some(({ answer }) => answer === 'refused'))
      expect(found, `${key} was refused as present`).toBeDefined();
  }
}

/** What the store holds, each object read whole; the list must agree with the reads. */
async function readAll(store: ObjectStore, keys: Iterable<string>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const key of keys) {
    const body = await store.get(key);
    if (body !== undefined) found.set(key, body.bytes.toString());
  }
  const listed: string[] = [];
  for await (const { key } of store.list('')) listed.push(key);
  expect(listed).toEqual([...found.keys()].sort());
  return found;
}

async function cutAndCheck(random: Random, disk: ForgetfulDisk): Promise<ForgetfulDisk> {
  power.disk = disk;
  // Two stores, as in two processes, with their own knowledge of what is durable.
  const stores = [directoryStore({ path: STORE, random }), directoryStore({ path: STORE, random })];
  const cut = disk.cutAfter(1 + Math.floor(random.float() * 600));
  const failures: unknown[] = [];
  for (let client = 0; client < CLIENTS; client++) {
    void work(stores[client % 2] as ObjectStore, random).catch((error: unknown) => failures.push(error));
  }
  await cut;
  await new Promise(setImmediate);
  expect(failures).toEqual([]);
  const after = disk.afterCut();
  power.disk = after;
  const store = directoryStore({ path: STORE, random });
  const keys = new Set(asked.map(({ key }) => key));
  const found = await readAll(store, keys);
  for (const key of keys) checkKey(key, found.get(key));
  for (const key of keys) await changeAfterCut(store, key, random);
  return after;
}

/**
 * Nobody is stuck: a writer changes the key by compare-and-set, and reads what it wrote. What was under way when the power
 * was cut may take effect as late as this, and refuse it once; then it is there.
 */
async function changeAfterCut(store: ObjectStore, key: string, random: Random): Promise<void> {
  const value = newValue(random);
  for (let tries = 0; ; tries++) {
    const now = await store.head(key);
    const condition: PutCondition = now === undefined ? { ifAbsent: true } : { ifMatch: now.etag };
    if ((await store.put(key, Buffer.from(value), { condition })).outcome === 'stored') break;
    expect(tries, `${key} can be changed`).toBe(0);
    checkKey(key, (await store.get(key))?.bytes.toString());
  }
  expect((await store.get(key))?.bytes.toString()).toBe(value);
  asked = asked.filter((one) => one.key !== key);
  clock += 2;
  asked.push({ key, value, condition: undefined, from: clock - 1, until: clock, answer: 'done' });
}

beforeEach(() => {
  clock = 0;
  values = 0;
  asked = [];
});

describe('a store whose disk loses power', () => {
  it(`C15 after any cut every answered put is there whole, and every other key has its old or its new value (seed ${SEED})`, async () => {
    for (let cut = 0; cut < CUTS; cut += CUTS_IN_A_ROW) {
      const random = seededRandom(SEED + cut);
      let disk = new ForgetfulDisk(random);
      asked = [];
      try {
        for (let times = 0; times < CUTS_IN_A_ROW; times++) disk = await cutAndCheck(random, disk);
      } catch (error) {
        throw new Error(`with SGW_SEED=${SEED + cut}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
    }
  }, 120_000);
});

describe('the disk of this test', () => {
  it('forgets a file that was synced but not its name, and a name whose folder was synced but not its bytes', async () => {
    const seen = { name: 0, bytes: 0, torn: 0 };
    for (let seed = 0; seed < 60; seed++) {
      const disk = new ForgetfulDisk(seededRandom(seed));
      const { calls } = disk;
      interface Handle {
        write(bytes: Buffer, offset: number, length: number, at: number): Promise<unknown>;
        sync(): Promise<void>;
      }
      const synced = (await calls.open('/synced', 'wx')) as Handle;
      await synced.write(Buffer.from('abcdefgh'), 0, 8, 0);
      await synced.sync();
      const named = (await calls.open('/named', 'wx')) as Handle;
      await ((await calls.open('/', 'r')) as Handle).sync();
      await named.write(Buffer.from('abcdefgh'), 0, 8, 0);
      await calls.link('/synced', '/later');
      const after = disk.afterCut();
      expect(await after.calls.readFile('/synced')).toHaveLength(8);
      const text = await after.calls.readFile('/named');
      if (text === '') seen.bytes += 1;
      else if (text !== 'abcdefgh') seen.torn += 1;
      if (!(await after.calls.readdir('/')).includes('later')) seen.name += 1;
    }
    expect(Math.min(seen.name, seen.bytes, seen.torn)).toBeGreaterThan(0);
  });
});
