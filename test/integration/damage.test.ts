/**
 * What must be shown, 3: any object of a store truncated, with a bit flipped, deleted, swapped with another, or rolled back.
 * Scrub names the object and exactly who is hurt; what can't be read is told as `corrupt`; the rest reads as it was.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FramePool, type VolumeView } from '../../src/core/blockstore/index.ts';
import type { HurtExtent } from '../../src/core/blockstore/scrub/index.ts';
import { createSparseOutput } from '../../src/core/image/index.ts';
import { seededRandom, SgwError } from '../../src/core/kit/index.ts';
import { exportView, scrubStore, verifyView } from '../../src/core/transfer/index.ts';
import { DamagedStore, openState, type Truth } from './damaged-store.ts';

/** Far above what it takes; the machine may be busy. */
const TIMEOUT_MS = 300_000;
/** Exports that are made and compared: each writes a file. */
const EXPORTS = 40;
const SEED = Number(process.env['SGW_SEED'] ?? 5);

let pool: FramePool;
beforeAll(() => {
  pool = new FramePool({ threads: 1 });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
});

type Changes = ReadonlyMap<string, Buffer | null>;

interface Case {
  readonly name: string;
  readonly changes: Changes;
}

const kindOf = (key: string): string =>
  key.replace(/^(volumes|snapshots)\/[^/]+\//, '').replace(/\/?[0-9a-f]{16}$/, '');

/** The next object of the same kind, in a circle. */
function another(store: DamagedStore, key: string): string | undefined {
  const alike = [...store.objects.keys()].filter((other) => kindOf(other) === kindOf(key)).sort();
  const next = alike[(alike.indexOf(key) + 1) % alike.length];
  return next === key ? undefined : next;
}

const one = (name: string, key: string, body: Buffer | null): Case => ({
  name: `${key} ${name}`,
  changes: new Map([[key, body]]),
});

const DAMAGES: Readonly<Record<string, (store: DamagedStore, key: string, body: Buffer) => Case[]>> = {
  truncated: (_store, key, body) =>
    [0, Math.floor(body.length / 2), body.length - 1]
      .filter((length) => length < body.length)
      .map((length) => one(`cut to ${String(length)}`, key, body.subarray(0, length))),
  'with a bit flipped': (_store, key, body) =>
    [5, 70, Math.floor(body.length / 2), body.length - 80, body.length - 3]
      .filter((at) => at >= 0 && at < body.length)
      .map((at) => {
        const bad = Buffer.from(body);
        bad[at] = (body[at] ?? 0) ^ (1 << (at % 8));
        return one(`flipped at ${String(at)}`, key, bad);
      }),
  deleted: (_store, key) => [one('deleted', key, null)],
  'swapped with another of its kind': (store, key, body) => {
    const other = another(store, key);
    if (other === undefined) return [];
    const theirs = store.objects.get(other) ?? Buffer.alloc(0);
    return [
      {
        name: `${key} and ${other}`,
        changes: new Map([
          [key, theirs],
          [other, body],
        ]),
      },
      one(`replaced by ${other}`, key, theirs),
    ];
  },
  'rolled back to an older version': (store, key) =>
    (store.older.get(key) ?? []).map((body, age) => one(`${String(age + 1)} versions back`, key, body)),
  'replaced by noise': (_store, key, body) => {
    const random = seededRandom(SEED + body.length);
    return [one('noise', key, random.bytes(body.length)), one('short noise', key, random.bytes(100))];
  },
};

/** Says what is not as it has to be; nothing when all is. */
async function judge(store: DamagedStore, { name, changes }: Case): Promise<string[]> {
  const complaints: string[] = [];
  const report = await scrubStore(await store.copy(changes), { pool });
  const named = new Set(report.damage.map(({ key }) => key));
  const innocent = [...named].filter((key) => !changes.has(key));
  if (innocent.length > 0) complaints.push(`${name}: scrub blames ${innocent.join()}`);
  let anyHurt = false;
  const options = await store.copy(changes);
  for (const truth of store.truths) {
    const { hurt, wrong } = await store.read(options, truth);
    for (const what of wrong) complaints.push(`${name}: ${truth.kind} ${truth.id}: ${what}`);
    anyHurt ||= hurt.length > 0;
    const affects = report.damage.flatMap((object) => object.affects.filter(({ id }) => id === truth.id));
    // Of a snapshot whose entry is gone nobody knows how large it was: then all of it is meant.
    const isUnsized = affects.length > 0 && affects.every(({ extents, name }) => extents.length === 0 && name === '?');
    const told = isUnsized
      ? [{ offset: 0, length: truth.sizeBytes }]
      : merged(affects.flatMap(({ extents }) => extents));
    if (JSON.stringify(told) !== JSON.stringify(hurt))
      complaints.push(`${name}: ${truth.kind} ${truth.id}: hurt ${JSON.stringify(hurt)}, told ${JSON.stringify(told)}`);
  }
  for (const [key, body] of changes) {
    // Of a map that nothing needs any more, nobody knows that it was there.
    const isForgotten = body === null && /\/map(\/|$)/.test(key) && !anyHurt;
    if (!named.has(key) && !isForgotten) complaints.push(`${name}: not named: ${key}`);
  }
  return complaints;
}

function merged(extents: readonly { readonly offset: number; readonly length: number }[]): object[] {
  const out: { offset: number; length: number }[] = [];
  for (const { offset, length } of extents.toSorted((a, b) => a.offset - b.offset)) {
    const last = out.at(-1);
    if (last === undefined || offset > last.offset + last.length) out.push({ offset, length });
    else last.length = Math.max(last.offset + last.length, offset + length) - last.offset;
  }
  return out;
}

/** One damage to each segment and map. */
function dataCases(store: DamagedStore, damage: (body: Buffer) => Buffer): { key: string; changes: Changes }[] {
  const data = [...store.objects].filter(([key]) => /\/(log|map)(\/|$)/.test(key));
  return data.map(([key, body]) => ({ key, changes: new Map([[key, damage(body)]]) }));
}

function flipped(body: Buffer): Buffer {
  const bad = Buffer.from(body);
  const at = Math.floor(body.length / 3);
  bad[at] = (body[at] ?? 0) ^ 8;
  return bad;
}

async function newestHurt(store: DamagedStore, changes: Changes, truth: Truth): Promise<readonly HurtExtent[]> {
  return (await store.read(await store.copy(changes), { ...truth, states: truth.states.slice(0, 1) })).hurt;
}

async function exportTo(path: string, view: VolumeView): Promise<void> {
  await using output = await createSparseOutput(path, { sizeBytes: view.sizeBytes, resumeKey: 'x', force: true });
  await exportView({ pool, view, output });
  await output.finish();
}

async function temporary(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'sgw-damage-'));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }) };
}

/** A sealed store takes longer: every other case of each object. */
const sampled = (cases: readonly Case[], sealed: boolean): readonly Case[] =>
  sealed ? cases.filter((_, i) => i % 2 === 0) : cases;

describe.each([{ sealed: false }, { sealed: true }])('a store, sealed: $sealed', ({ sealed }) => {
  let store: DamagedStore;
  beforeAll(async () => {
    store = await DamagedStore.build({ sealed });
  });

  it('that is whole has no damage, and all reads right', async () => {
    expect(await judge(store, { name: 'whole', changes: new Map() })).toEqual([]);
    const report = await scrubStore(await store.copy(new Map()), { pool });
    expect(report).toMatchObject({ damage: [], remarks: [], objects: store.objects.size });
    expect(
      store.truths
        .map(({ kind }) => kind)
        .sort()
        .join(),
    ).toMatch(/^(snapshot,){4}(volume,?){6}$/);
  });

  it.each(Object.entries(DAMAGES))(
    'one object %s: scrub names who is hurt, nothing reads wrong',
    async (_name, damage) => {
      const complaints: string[] = [];
      let cases = 0;
      for (const [key, body] of store.objects) {
        for (const each of sampled(damage(store, key, body), sealed)) {
          cases += 1;
          complaints.push(...(await judge(store, each)));
        }
      }
      expect(complaints).toEqual([]);
      expect(cases).toBeGreaterThan(10);
    },
    TIMEOUT_MS,
  );

  it(
    'verify names the extents that can not be read; what is not hurt verifies and exports',
    async () => {
      const complaints: string[] = [];
      await using folder = await temporary();
      let exports = 0;
      for (const { key, changes } of dataCases(store, flipped)) {
        for (const truth of store.truths) {
          const hurt = await newestHurt(store, changes, truth);
          const view = await openState(await store.copy(changes), truth, 0).catch(() => undefined);
          const report = view === undefined ? undefined : await verifyView({ pool, view });
          const whole = [{ offset: 0, length: truth.sizeBytes }];
          const told = report === undefined ? whole : merged(report.damage.flatMap(({ extents }) => extents));
          if (JSON.stringify(told) !== JSON.stringify(hurt))
            complaints.push(`${key}: ${truth.id}: hurt ${JSON.stringify(hurt)}, told ${JSON.stringify(told)}`);
          if (view === undefined || hurt.length > 0 || exports >= EXPORTS) continue;
          exports += 1;
          const path = join(folder.path, String(exports));
          await exportTo(path, view);
          if (!(await readFile(path)).equals(store.bytesOf(truth)))
            complaints.push(`${key}: ${truth.id} exports wrong`);
          await rm(path);
        }
      }
      expect(complaints).toEqual([]);
      expect(exports).toBe(EXPORTS);
    },
    TIMEOUT_MS,
  );

  it(
    'an export of what is hurt is told as damage, never as a bug',
    async () => {
      await using folder = await temporary();
      const kinds = new Set<string>();
      for (const { changes } of dataCases(store, (body) => body.subarray(0, Math.floor(body.length / 2)))) {
        for (const truth of store.truths) {
          if ((await newestHurt(store, changes, truth)).length === 0) continue;
          const exporting = openState(await store.copy(changes), truth, 0).then(async (view) => {
            await exportTo(join(folder.path, 'out'), view);
          });
          kinds.add(
            await exporting.then(
              () => 'exported',
              (error: unknown) => (error instanceof SgwError ? error.kind : String(error)),
            ),
          );
        }
      }
      expect([...kinds]).toEqual(['corrupt']);
    },
    TIMEOUT_MS,
  );

  it('a head that was rolled back reads right or is damage, also where nobody remembers its version', async () => {
    const wrong: string[] = [];
    let refused = 0;
    for (const [key, versions] of store.older) {
      const truth = store.truths.find(({ id }) => key === `volumes/${id}/head.json`);
      for (const body of truth === undefined ? [] : versions) {
        if (truth === undefined) continue;
        const read = await store.read(await store.copy(new Map([[key, body]]), false), truth);
        wrong.push(...read.wrong);
        if (read.hurt.length > 0) refused += 1;
      }
    }
    expect(wrong).toEqual([]);
    expect(refused).toBeGreaterThan(0);
  });
});
