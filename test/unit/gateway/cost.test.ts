/** Prices, what is measured of requests, and what is made of both. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { forecastOf, intervalForecasts, MONTH_MS, monthOf } from '../../../src/core/gateway/cost/forecast.ts';
import { choosePrices, parsePrices, requestPrice, trafficPrice } from '../../../src/core/gateway/cost/prices.ts';
import { noRequests, RequestTally, type RequestCounts } from '../../../src/core/gateway/cost/tally.ts';
import { noUsage, UsageBook, type Usage } from '../../../src/core/gateway/cost/usage-book.ts';
import { UsageKeeper } from '../../../src/core/gateway/cost/usage-keeper.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import type { PriceTable } from '../../../src/core/localapi/index.ts';
import { TurnedClock } from '../volume/turned-clock.ts';

const PRICES: PriceTable = {
  name: 'mine',
  currency: 'EUR',
  gigabyteBytes: 1_000_000_000,
  storagePerGigabyteMonth: 0.02,
  putPerThousand: 5,
  getPerThousand: 0.4,
  headPerThousand: 0.3,
  listPerThousand: 6,
  deletePerThousand: 0.1,
  uploadPerGigabyte: 1,
  downloadPerGigabyte: 9,
  checkedOn: '2026-11-29',
  source: null,
};
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const VOLUME = 'vol-00000000000000001';
const requests = (given: Partial<RequestCounts>): RequestCounts => ({ ...noRequests(), ...given });

describe('prices', () => {
  it('each request and each byte has its price', () => {
    const counts = { put: 1000, get: 2000, head: 1000, list: 500, delete: 10_000, upBytes: 2e9, downBytes: 5e8 };
    expect(requestPrice(counts, PRICES)).toBeCloseTo(5 + 0.8 + 0.3 + 3 + 1, 10);
    expect(trafficPrice(counts, PRICES)).toBeCloseTo(2 + 4.5, 10);
    expect(trafficPrice(counts, { ...PRICES, gigabyteBytes: 2 ** 30 })).toBeCloseTo((2e9 + 4.5e9) / 2 ** 30, 10);
  });

  it('a file is read as it is written, and what is wrong in it is named', () => {
    expect(parsePrices(JSON.stringify(PRICES), 'p')).toEqual(PRICES);
    const { checkedOn: _, source: __, gigabyteBytes: ___, ...least } = PRICES;
    expect(parsePrices(JSON.stringify(least), 'p')).toEqual({ ...PRICES, checkedOn: null });
    const wrong: [string, RegExp][] = [
      ['{', /it is not JSON/],
      ['[]', /it is not an object/],
      [JSON.stringify({ ...PRICES, putsPerThousand: 1 }), /no field "putsPerThousand"/],
      [JSON.stringify({ ...PRICES, toString: 1 }), /no field "toString"/],
      [JSON.stringify({ ...PRICES, putPerThousand: undefined }), /"putPerThousand" is missing/],
      [JSON.stringify({ ...PRICES, putPerThousand: '5' }), /"putPerThousand" is not a number/],
      [JSON.stringify({ ...PRICES, putPerThousand: -1 }), /"putPerThousand" is not a number/],
      [JSON.stringify(PRICES).replace('"putPerThousand":5', '"putPerThousand":1e999'), /"putPerThousand" is not/],
      [JSON.stringify({ ...PRICES, currency: 'euro' }), /"currency"/],
      [JSON.stringify({ ...PRICES, gigabyteBytes: 1000 }), /"gigabyteBytes"/],
      [JSON.stringify({ ...PRICES, name: '' }), /"name"/],
      [JSON.stringify({ ...PRICES, checkedOn: 'today' }), /"checkedOn"/],
    ];
    for (const [text, message] of wrong) {
      const thrown = (): unknown => parsePrices(text, '/home/prices.json');
      expect(thrown, text).toThrow(message);
      expect(thrown, text).toThrow(expect.objectContaining({ kind: 'invalid', code: 'bad-prices' }) as Error);
    }
  });

  it('what is asked for counts, then the file of the home, then the provider, then nothing', async () => {
    const home = await mkdtemp(join(tmpdir(), 'sgw-prices-'));
    onTestFinished(async () => rm(home, { recursive: true }));
    const named = async (...[wanted, provider]: [Parameters<typeof choosePrices>[1], string | null]) => {
      const { prices, path } = await choosePrices(home, wanted, provider);
      return [prices.name, path];
    };
    expect(await named(undefined, 'Cloudflare R2')).toEqual(['Cloudflare R2, standard storage', null]);
    expect(await named(undefined, 'MinIO')).toEqual([expect.stringContaining('of your own'), null]);
    await writeFile(join(home, 'prices.json'), JSON.stringify(PRICES));
    expect(await named(undefined, 'Cloudflare R2')).toEqual(['mine', join(home, 'prices.json')]);
    expect(await named('b2', 'Cloudflare R2')).toEqual(['Backblaze B2, pay as you go', null]);
  });
});

describe('the forecast', () => {
  it('is of a month at the pace that was measured', () => {
    const month = monthOf(requests({ put: 10, downBytes: 1e6 }), 2 * HOUR);
    expect(month).toEqual(requests({ put: 3650, downBytes: 3.65e8 }));
    expect(forecastOf(5e9, month, PRICES)).toEqual({
      storage: 0.1,
      requests: expect.closeTo(18.25, 8) as number,
      traffic: expect.closeTo(3.285, 8) as number,
      total: expect.closeTo(21.635, 8) as number,
    });
  });

  it('is of the storage alone while less than an hour was measured', () => {
    expect(monthOf(requests({ put: 10 }), HOUR - 1)).toBeUndefined();
    expect(forecastOf(5e9, undefined, PRICES)).toEqual({ storage: 0.1, requests: null, traffic: null, total: null });
    expect(intervalForecasts({ ...noUsage(), servedMs: HOUR - 1 }, 10_000, PRICES)).toEqual([]);
  });

  it('of other intervals has a row for each, and one for what is set', () => {
    const usage: Usage = { ...noUsage(), servedMs: MONTH_MS, commits: 640, modelledCommits: [6400, 3200, 640, 64, 0] };
    const rows = intervalForecasts(usage, 300_000, PRICES);
    expect(rows.map(({ intervalMs, commits, puts }) => [intervalMs, commits, puts])).toEqual([
      [10_000, 6400, 6600],
      [60_000, 3200, 3300],
      [300_000, 640, 660],
      [900_000, 64, 66],
      [3_600_000, 0, 0],
    ]);
    expect(rows.filter(({ isCurrent }) => isCurrent).map(({ intervalMs }) => intervalMs)).toEqual([300_000]);
    expect(rows[0]?.price).toBeCloseTo(33, 8);
    const other = intervalForecasts(usage, 20_000, PRICES);
    expect(other).toHaveLength(6);
    expect(other[1]).toMatchObject({ intervalMs: 20_000, isCurrent: true, commits: 640 });
  });
});

describe('the sums of what was used', () => {
  const used = (put: number, servedMs = HOUR): Map<string, Usage> =>
    new Map([[VOLUME, { ...noUsage(), requests: requests({ put }), servedMs, commits: put }]]);

  it(`keep what was noted for a month, in a bounded number of spans, whatever the clock does`, () => {
    const random = seededRandom(7);
    const book = UsageBook.of('s', undefined);
    let nowMs = Date.UTC(2026, 0, 1);
    const noted: { atMs: number; put: number }[] = [];
    for (let i = 0; i < 3000; i++) {
      nowMs += Math.floor(random.float() * HOUR);
      const put = Math.floor(random.float() * 10);
      noted.push({ atMs: nowMs, put });
      book.note(nowMs, 1000, used(put));
    }
    const measured = book.measured();
    const since = measured.sinceMs ?? 0;
    expect(since).toBeGreaterThan(nowMs - 33 * DAY);
    expect(since).toBeLessThan(nowMs - 30 * DAY);
    const kept = noted.filter(({ atMs }) => atMs >= since);
    expect(measured.volumes.get(VOLUME)?.requests.put).toBe(kept.reduce((sum, { put }) => sum + put, 0));
    expect(measured.ranMs).toBe(kept.length * 1000);
    expect((JSON.parse(book.toText()) as { spans: unknown[] }).spans.length).toBeLessThanOrEqual(48 + 24 + 33);
    expect(UsageBook.of('s', book.toText()).measured()).toEqual(measured);
    // Set back by minutes: nothing is lost. Far ahead, and back again: what was noted ahead goes.
    book.note(nowMs - 300_000, 1000, used(1));
    expect(book.measured().ranMs).toBe(measured.ranMs + 1000);
    book.note(nowMs + 400 * DAY, 1000, used(1));
    book.note(nowMs, 1000, used(1));
    expect(book.measured().sinceMs).toBeLessThanOrEqual(nowMs);
  });

  it.each([
    ['another store', (text: string) => text.replace('"s"', '"t"')],
    ['a torn file', (text: string) => text.slice(0, -20)],
    ['a number that is none', (text: string) => text.replace('3600000', '"x"')],
    ['a newer version', (text: string) => text.replace('"version":1', '"version":2')],
    ['no file', () => undefined],
  ])('begin anew with %s', (_, change) => {
    const book = UsageBook.of('s', undefined);
    book.note(Date.UTC(2026, 0, 1), 1000, used(1));
    expect(UsageBook.of('s', book.toText()).measured().ranMs).toBe(1000);
    expect(UsageBook.of('s', change(book.toText())).measured()).toMatchObject({ ranMs: 0, sinceMs: null });
  });

  it('are kept over a restart, with each request and commit once', async () => {
    const home = await mkdtemp(join(tmpdir(), 'sgw-usage-'));
    onTestFinished(async () => rm(home, { recursive: true }));
    const clock = new TurnedClock();
    const settled = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const stats = { commits: 0, modelledCommits: [] as number[] };
    for (let run = 0; run < 2; run++) {
      const tally = new RequestTally();
      stats.commits = 0;
      const served = () => [{ volumeId: VOLUME, stats: stats as never }];
      const keeper = await UsageKeeper.open({ home, storeId: 's', clock, tally, served });
      tally.count({ operation: 'put', key: `volumes/${VOLUME}/log/0000000000000001`, upBytes: 7, downBytes: 0 });
      tally.count({ operation: 'list', key: 'volumes/', upBytes: 0, downBytes: 0 });
      stats.commits = 3;
      stats.modelledCommits = [3, 2, 1, 0, 0];
      await clock.turnTo(clock.ms + 10 * 60_000, settled);
      await keeper[Symbol.asyncDispose]();
    }
    const after = await UsageKeeper.open({ home, storeId: 's', clock, tally: new RequestTally(), served: () => [] });
    const { ranMs, volumes } = after.book.measured();
    await after[Symbol.asyncDispose]();
    expect(ranMs).toBe(20 * 60_000);
    expect(volumes.get(VOLUME)).toEqual({
      requests: requests({ put: 2, upBytes: 14 }),
      servedMs: 20 * 60_000,
      commits: 6,
      modelledCommits: [6, 4, 2, 0, 0],
    });
    expect(volumes.get('')?.requests).toEqual(requests({ list: 2 }));
  });
});

it('requests are told apart by the kind of object and the volume of their key', () => {
  const tally = new RequestTally();
  const count = (operation: 'put' | 'get' | 'list', key: string): void => {
    tally.count({ operation, key, upBytes: operation === 'put' ? 10 : 0, downBytes: operation === 'get' ? 20 : 0 });
  };
  count('put', `volumes/${VOLUME}/log/0000000000000001`);
  count('get', `volumes/${VOLUME}/map/0000000000000001`);
  count('list', `volumes/${VOLUME}/log/`);
  count('list', 'volumes/');
  count('get', 'snapshots/snap-00000000000000001/map');
  count('get', 'somebody/else');
  expect(tally.kinds().map(({ kind, counts }) => [kind, counts.put, counts.get, counts.list])).toEqual([
    ['segments', 1, 0, 1],
    ['volume maps', 0, 1, 0],
    ['volume documents', 0, 0, 1],
    ['snapshot maps', 0, 1, 0],
    ['other', 0, 1, 0],
  ]);
  expect(tally.volumes().get(VOLUME)).toEqual(requests({ put: 1, get: 1, list: 1, upBytes: 10, downBytes: 20 }));
  expect(tally.volumes().get('')).toEqual(requests({ get: 2, list: 1, downBytes: 40 }));
});
