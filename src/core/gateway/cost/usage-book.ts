/**
 * What a gateway asked of its store while it ran, in sums: by the hour for two days and by the day for a month, for each volume
 * and for what names none. Bounded: at most HOURS + DAYS spans of at most VOLUMES_MAX volumes.
 *
 * Invariants: spans are in order of time and do not overlap; what is noted goes into the newest span when the clock was set
 * back; a span that begins later than now, of a clock that was set ahead, is dropped.
 */
import { MODELLED_INTERVALS_MS } from '../../volume/index.ts';
import { addRequests, COUNTED, NO_VOLUME, noRequests, type RequestCounts } from './tally.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const HOURS = 48;
const DAYS = 31;
const VOLUMES_MAX = 512;

/** Of one volume, in a span of time. */
export interface Usage {
  readonly requests: RequestCounts;
  /** How long it was served. */
  servedMs: number;
  /** Commits that were made, and those that each of MODELLED_INTERVALS_MS would have made. */
  commits: number;
  readonly modelledCommits: number[];
}

interface Span {
  readonly startMs: number;
  readonly lengthMs: number;
  /** When something was measured in it first. */
  readonly firstMs: number;
  /** How long the gateway ran in it. */
  ranMs: number;
  readonly volumes: Map<string, Usage>;
}

/** What was measured in all spans together. */
export interface Measured {
  /** How long the gateway ran. */
  readonly ranMs: number;
  /** Since when, by the clock; null when nothing was measured. */
  readonly sinceMs: number | null;
  readonly volumes: ReadonlyMap<string, Readonly<Usage>>;
}

export const noUsage = (): Usage => ({
  requests: noRequests(),
  servedMs: 0,
  commits: 0,
  modelledCommits: MODELLED_INTERVALS_MS.map(() => 0),
});

export class UsageBook {
  readonly storeId: string;
  #spans: Span[];

  private constructor(storeId: string, spans: Span[]) {
    this.storeId = storeId;
    this.#spans = spans;
  }

  /** Takes what `text` has of this store; what is not as `toText` makes it counts as nothing. */
  static of(storeId: string, text: string | undefined): UsageBook {
    return new UsageBook(storeId, text === undefined ? [] : spansOf(storeId, text));
  }

  /** The gateway ran for `ranMs` more until `nowMs`, and `more` was used meanwhile. */
  note(nowMs: number, ranMs: number, more: ReadonlyMap<string, Usage>): void {
    const span = this.#spanAt(nowMs, ranMs);
    span.ranMs += ranMs;
    for (const [volumeId, usage] of more) {
      const isKnown = span.volumes.has(volumeId) || span.volumes.size < VOLUMES_MAX;
      addUsage(span.volumes, isKnown ? volumeId : NO_VOLUME, usage);
    }
    this.#fold(nowMs);
  }

  measured(): Measured {
    const volumes = new Map<string, Usage>();
    for (const span of this.#spans) for (const [volumeId, usage] of span.volumes) addUsage(volumes, volumeId, usage);
    const ranMs = this.#spans.reduce((sum, span) => sum + span.ranMs, 0);
    return { ranMs, sinceMs: this.#spans[0]?.firstMs ?? null, volumes };
  }

  #spanAt(nowMs: number, ranMs: number): Span {
    this.#spans = this.#spans.filter(({ startMs }) => startMs <= nowMs + HOUR_MS);
    const startMs = nowMs - (nowMs % HOUR_MS);
    const newest = this.#spans.at(-1);
    if (newest !== undefined && newest.startMs + newest.lengthMs > startMs) return newest;
    const firstMs = Math.max(startMs, Math.round(nowMs - ranMs));
    const span = { startMs, lengthMs: HOUR_MS, firstMs, ranMs: 0, volumes: new Map<string, Usage>() };
    this.#spans.push(span);
    return span;
  }

  /** Makes days of old hours, and drops old days. */
  #fold(nowMs: number): void {
    const kept: Span[] = [];
    for (const span of this.#spans) {
      if (span.startMs + span.lengthMs < nowMs - DAYS * DAY_MS) continue;
      const dayMs = span.startMs - (span.startMs % DAY_MS);
      const isOld = span.lengthMs === HOUR_MS && dayMs + DAY_MS <= nowMs - HOURS * HOUR_MS;
      const last = kept.at(-1);
      if (!isOld) kept.push(span);
      else if (last?.startMs === dayMs && last.lengthMs === DAY_MS) {
        last.ranMs += span.ranMs;
        for (const [volumeId, usage] of span.volumes) addUsage(last.volumes, volumeId, usage);
      } else kept.push({ ...span, startMs: dayMs, lengthMs: DAY_MS });
    }
    this.#spans = kept;
  }

  toText(): string {
    const spans = this.#spans.map(({ volumes, ...span }) => ({
      ...span,
      volumes: Object.fromEntries([...volumes].map(([volumeId, usage]) => [volumeId, numbersOf(usage)])),
    }));
    return `${JSON.stringify({ version: 1, storeId: this.storeId, spans })}\n`;
  }
}

function addUsage(all: Map<string, Usage>, volumeId: string, more: Readonly<Usage>): void {
  let usage = all.get(volumeId);
  if (usage === undefined) all.set(volumeId, (usage = noUsage()));
  addRequests(usage.requests, more.requests);
  usage.servedMs += more.servedMs;
  usage.commits += more.commits;
  for (const [at, commits] of more.modelledCommits.entries())
    usage.modelledCommits[at] = (usage.modelledCommits[at] ?? 0) + commits;
}

function spansOf(storeId: string, text: string): Span[] {
  try {
    const value = JSON.parse(text) as { version: unknown; storeId: unknown; spans: (Span & { volumes: object })[] };
    if (value.version !== 1 || value.storeId !== storeId) return [];
    return value.spans.map(({ startMs, lengthMs, firstMs, ranMs, volumes }) => {
      if (![startMs, lengthMs, firstMs, ranMs].every(isCount) || ![HOUR_MS, DAY_MS].includes(lengthMs))
        throw new TypeError();
      const usages = Object.entries(volumes).map(([id, numbers]) => [id, usageOf(numbers)] as const);
      return { startMs, lengthMs, firstMs, ranMs, volumes: new Map(usages) };
    });
  } catch {
    return [];
  }
}

const isCount = (value: unknown): value is number => Number.isFinite(value) && (value as number) >= 0;

/** As the file has it: the requests in the order of COUNTED, time served, commits made and modelled. */
const numbersOf = ({ requests, servedMs, commits, modelledCommits }: Usage): number[] => [
  ...COUNTED.map((name) => requests[name]),
  ...[Math.round(servedMs), commits, ...modelledCommits],
];

function usageOf(numbers: unknown): Usage {
  if (!Array.isArray(numbers) || numbers.length !== numbersOf(noUsage()).length || !numbers.every(isCount))
    throw new TypeError();
  const [servedMs = 0, commits = 0, ...modelledCommits] = numbers.slice(COUNTED.length);
  const requests = noRequests();
  for (const [at, name] of COUNTED.entries()) requests[name] = numbers[at] ?? 0;
  return { requests, servedMs, commits, modelledCommits };
}
