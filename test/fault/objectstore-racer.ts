/**
 * A process that races others on a directory store: `racer.ts counter STORE KEY COUNT` increments a counter by
 * compare-and-set COUNT times; `racer.ts create STORE PREFIX COUNT` tries to create COUNT objects and prints those it won;
 * `racer.ts recreate STORE KEY COUNT` creates or deletes one key, and prints how often it succeeded at each.
 */
import { directoryStore, type ObjectStore } from '../../src/core/objectstore/index.ts';

async function counter(store: ObjectStore, key: string, count: number): Promise<string> {
  let lost = 0;
  for (let done = 0; done < count;) {
    const now = await store.get(key);
    const value = now === undefined ? 0 : Number(now.bytes.toString());
    const condition = now === undefined ? ({ ifAbsent: true } as const) : { ifMatch: now.etag };
    const result = await store.put(key, Buffer.from(String(value + 1)), { condition });
    if (result.outcome === 'stored') done++;
    else lost++;
  }
  return String(lost);
}

async function create(store: ObjectStore, prefix: string, count: number): Promise<string> {
  const won: string[] = [];
  for (let i = 0; i < count; i++) {
    const key = `${prefix}${i.toString(16).padStart(16, '0')}`;
    const result = await store.put(key, Buffer.from(String(process.pid)), { condition: { ifAbsent: true } });
    if (result.outcome === 'stored') won.push(key);
  }
  return JSON.stringify(won);
}

async function recreate(store: ObjectStore, key: string, count: number): Promise<string> {
  let created = 0;
  let deleted = 0;
  for (let i = 0; i < count; i++) {
    const result = await store.put(key, Buffer.from('x'), { condition: { ifAbsent: true } });
    if (result.outcome === 'stored') created++;
    if (await store.delete(key)) deleted++;
  }
  return JSON.stringify({ created, deleted });
}

const [work, path = '', key = '', count = '0'] = process.argv.slice(2);
const store = directoryStore({ path });
const run = work === 'counter' ? counter : work === 'create' ? create : recreate;
process.stdout.write(await run(store, key, Number(count)));
