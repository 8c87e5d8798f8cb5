/**
 * Makes a segment's contents of a plan: pages read from the log's files by worker threads, sectors merged with what is below
 * them first (C17: a merged page has the creators of both).
 */
import { BLOCK_PAGES, type Batch, type EncodedFrames, type FramePool, type PageInput } from '../blockstore/index.ts';
import { FULL_MASK, type WriteLog } from '../writelog/index.ts';
import { overlaySectors, type PageReader } from './page-reader.ts';
import type { PlannedPage, SealPlan } from './seal-plan.ts';

/** Pages below which a plan is not worth a second thread. */
const PAGES_PER_TASK_MIN = 512;

export interface PlanEncoding {
  readonly log: WriteLog;
  readonly reader: PageReader;
  readonly pool: FramePool;
  readonly accountId: string;
}

/**
 * Encodes a plan; `applied` is waited for before sectors are merged.
 * @throws corrupt when pages of the log do not match their checksums, or what is below sectors is damaged
 */
export async function encodePlan(
  parts: PlanEncoding,
  plan: SealPlan,
  applied: () => Promise<void>,
  signal: AbortSignal,
): Promise<Omit<Batch, 'onApplied'>> {
  const pages = plan.pages();
  const merged = await mergePages(parts, pages, applied, signal);
  const sets = new CreatorSets(parts.accountId);
  const groups = groupByCreators(pages, merged, sets);
  const tasks = [...groups].flatMap(([creators, group]) => cutTasks(group).map((task) => ({ creators, task })));
  const encoded = await Promise.all(
    tasks.map(async ({ creators, task }) => await encodeTask(parts, task, merged, creators, signal)),
  );
  const { records = null } = plan;
  return {
    encoded: encoded.filter(({ frames }) => frames.length > 0),
    unmap: [...plan.zeroes(), ...encoded.flatMap(({ zeroed }) => zeroed)],
    sizeBytes: plan.sizeBytes,
    consistent: true,
    creators: sets.all,
    records,
  };
}

interface MergedPage {
  readonly bytes: Buffer;
  readonly creators: readonly string[];
}

async function mergePages(
  { log, reader }: PlanEncoding,
  pages: readonly PlannedPage[],
  applied: () => Promise<void>,
  signal: AbortSignal,
): Promise<Map<number, MergedPage>> {
  const merged = new Map<number, MergedPage>();
  const partial = pages.filter(({ mask }) => mask !== FULL_MASK);
  if (partial.length === 0) return merged;
  await applied();
  for (const { page, slot, mask } of partial) {
    const { bytes, creators } = await reader.readBelow(page, signal);
    overlaySectors(log, slot, mask, bytes);
    merged.set(page, { bytes, creators });
  }
  return merged;
}

/** Sets of creators, numbered as a batch names them; number 0 is the account alone. */
class CreatorSets {
  readonly all: string[][];
  readonly #accountId: string;
  readonly #numbers = new Map<string, number>();

  constructor(accountId: string) {
    this.#accountId = accountId;
    this.all = [[accountId]];
    this.#numbers.set(accountId, 0);
  }

  numberOf(others: Iterable<string>): number {
    const set = [...new Set([this.#accountId, ...others])].sort();
    const name = set.join();
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.all.push(set) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }
}

const blockOf = (page: number): number => Math.floor(page / BLOCK_PAGES);

/** Pages by the set of creators of their block, which is one frame. */
function groupByCreators(
  pages: readonly PlannedPage[],
  merged: ReadonlyMap<number, MergedPage>,
  sets: CreatorSets,
): Map<number, PlannedPage[]> {
  if (merged.size === 0) return new Map([[0, [...pages]]]);
  const others = new Map<number, Set<string>>();
  for (const [page, { creators }] of merged) {
    const block = blockOf(page);
    others.set(block, new Set([...(others.get(block) ?? []), ...creators]));
  }
  return Map.groupBy(pages, ({ page }) => sets.numberOf(others.get(blockOf(page)) ?? []));
}

/** Cuts pages into tasks for two threads, never within a block. */
function cutTasks(pages: readonly PlannedPage[]): PlannedPage[][] {
  if (pages.length === 0) return [];
  if (pages.length < 2 * PAGES_PER_TASK_MIN) return [[...pages]];
  let middle = Math.floor(pages.length / 2);
  const block = blockOf(pages[middle]?.page ?? 0);
  while (middle < pages.length && blockOf(pages[middle]?.page ?? 0) === block) middle += 1;
  return [pages.slice(0, middle), pages.slice(middle)].filter((task) => task.length > 0);
}

async function encodeTask(
  { log, pool }: PlanEncoding,
  pages: readonly PlannedPage[],
  merged: ReadonlyMap<number, MergedPage>,
  creators: number,
  signal: AbortSignal,
): Promise<EncodedFrames> {
  const files: string[] = [];
  const numbers = new Map<string, number>();
  const input = pages.map(({ page, slot, checksum }): PageInput => {
    const bytes = merged.get(page)?.bytes;
    if (bytes !== undefined) return { page, bytes };
    const { path, position } = log.placeOf(slot);
    let file = numbers.get(path);
    if (file === undefined) {
      file = files.push(path) - 1;
      numbers.set(path, file);
    }
    return { page, file, position, crc32: checksum };
  });
  return await pool.encodePages({ files, pages: input, creators, keepsPages: true }, { signal });
}
