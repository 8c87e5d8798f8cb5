/** What a volume or snapshot must be, beside what the model says. */
import { expect } from 'vitest';
import { toBuffer, type Contents } from '../reader/independent-reader.ts';
import { readAll } from '../unit/blockstore/volume-model.ts';
import { dataPages, type State } from './volume-state.ts';

export async function expectSame(view: Parameters<typeof readAll>[0], state: State): Promise<void> {
  expect(view.sizeBytes).toBe(state.sizeBytes);
  expect(view.map.mappedPages).toBe(dataPages(state));
  expect((await readAll(view)).equals(state.bytes.subarray(0, state.sizeBytes))).toBe(true);
}

export async function expectSameContents(contents: Contents, state: State): Promise<void> {
  expect(contents.sizeBytes).toBe(state.sizeBytes);
  expect(contents.mappedPages).toBe(dataPages(state));
  expect((await toBuffer(contents)).equals(state.bytes.subarray(0, state.sizeBytes))).toBe(true);
}

/** Who wrote each page, as the map says. */
export async function creatorsOf(view: Parameters<typeof readAll>[0]): Promise<Record<number, string>> {
  const creators: Record<number, string> = {};
  for await (const { runs } of view.map.leaves())
    for (const run of runs) for (let i = 0; i < run.count; i++) creators[run.page + i] = run.source.creators.join();
  return creators;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of items) out.push(item);
  return out;
}
