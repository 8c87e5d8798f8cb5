/** The requests that a gateway says it made are those that its store saw: over a directory, and over a real S3 server. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createHandlers } from '../../src/core/control/index.ts';
import { partsOf } from '../../src/core/daemon/parts.ts';
import { Gateway } from '../../src/core/gateway/index.ts';
import type { Input, OperationName, Result, StoreStatsDocument, VolumeCost } from '../../src/core/localapi/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { countedStore, type Counters } from '../support/counted-store.ts';
import { requireRadosgw, type Radosgw } from '../support/radosgw.ts';
import { S3Proxy } from '../support/s3-proxy.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';

const MIB = 1 << 20;
const CALL = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 10_000 };
interface Saved {
  readonly spans: readonly { readonly volumes: Readonly<Record<string, readonly number[]>> }[];
}
const METRIC = /^(sgw_\w+)\{(.*)\} (\d+)$/gm;

describe('over a directory', () => {
  it('counts, bytes, metrics and volumes agree with what the store saw', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'sgw-cost-'));
    const seen: Readonly<Counters>[] = [];
    const parts = await partsOf(path.join(folder, 'home'), undefined, (below) => {
      const { store, counters } = countedStore(below);
      seen.push(counters);
      return store;
    });
    const sum = (name: keyof Counters): number => seen.reduce((total, counters) => total + counters[name], 0);
    const gateway = new Gateway(parts);
    const handlers = createHandlers(gateway);
    const call = async <N extends OperationName>(name: N, input: Input<N>): Promise<Result<N>> =>
      await handlers[name](input, CALL);
    await call('activate', { name: 'lab', mode: 'cached' });
    const [one, other] = [
      await call('volume.create', { name: 'one', sizeBytes: 8 * MIB }),
      await call('volume.create', { name: 'other', sizeBytes: 8 * MIB }),
    ];
    const serving = await gateway.serve(CALL);
    await call('volume.attach', { volume: 'one' });
    await call('volume.attach', { volume: 'other' });
    const opened = await serving.open('one');
    for (let i = 0; i < 3; i++) {
      await opened.device.write(i * MIB, Buffer.alloc(MIB, Buffer.from(`noise ${String(i)}`)));
      await serving.named('one')?.volume?.drain();
    }
    await opened.release();
    const stats = await call('store.stats', {});
    if (stats.requests === null) throw new Error('a daemon counts requests');
    const { total, kinds } = stats.requests;
    // Opening a store looks whether it is there, below what the test counts.
    const { head, ...rest } = Object.fromEntries(
      (['put', 'get', 'head', 'list', 'delete', 'upBytes', 'downBytes'] as const).map((name) => [name, sum(name)]),
    );
    expect(total).toEqual({ ...rest, head: (head ?? 0) + seen.length });
    expect(total.put).toBeGreaterThan(10);
    const segments = kinds.find(({ kind }) => kind === 'segments');
    expect(segments).toMatchObject({ put: 3 });
    const stored = stats.kinds.find(({ kind }) => kind === 'segments');
    expect(segments?.upBytes).toBe(stored?.bytes);
    // Each volume has its own; the rows are everything that is stored and asked.
    expect(stats.byVolume.map(({ name }) => name)).toEqual(['one', 'other', null]);
    const rows = stats.byVolume as [VolumeCost, VolumeCost, VolumeCost];
    const [first, second] = rows;
    expect(first).toMatchObject({ volumeId: one.volumeId, state: 'available' });
    expect(second).toMatchObject({ volumeId: other.volumeId });
    expect(first.requests.put - second.requests.put).toBe(3);
    expect(rows.reduce((bytes, row) => bytes + row.bytes, 0)).toBe(stats.totalBytes);
    expect(rows.reduce((puts, row) => puts + row.requests.put, 0)).toBe(total.put);
    // The store is of nobody's, and was watched for less than an hour.
    expect(stats.prices.name).toContain('of your own');
    expect(stats.forecast).toEqual({ storage: 0, requests: null, traffic: null, total: null });
    expect(stats.remarks.join(' ')).toContain('a month is forecast from 1 h on');
    const metrics = await metricsOf(await serving.metrics());
    expect(metrics('sgw_store_requests_total', 'operation="put"')).toBe(total.put);
    expect(metrics('sgw_store_requests_total', 'operation="put",kind="segments"')).toBe(3);
    expect(metrics('sgw_store_bytes_total', 'direction="up"')).toBe(total.upBytes);
    const labels = `volume="one",volume_id="${one.volumeId}"`;
    expect(metrics('sgw_volume_store_requests_total', `operation="put",${labels}`)).toBe(first.requests.put);
    await serving.stop({ drain: true, signal: CALL.signal });
    await gateway.close();
    // Without the daemon, what it measured is there, and nothing is said of requests now.
    await using alone = new Gateway(await partsOf(path.join(folder, 'home')));
    const after = await createHandlers(alone)['store.stats']({ volume: 'one' }, CALL);
    expect(after.requests).toBeNull();
    expect(after.byVolume).toHaveLength(1);
    expect(after.byVolume[0]?.requests.put).toBeGreaterThanOrEqual(first.requests.put);
    expect(after.byVolume[0]?.measuredMs).toBeGreaterThanOrEqual(first.measuredMs);
    const usage = JSON.parse(await readFile(path.join(folder, 'home', 'usage.json'), 'utf8')) as Saved;
    // Behind the requests and the time: commits made.
    expect(usage.spans.reduce((sum, span) => sum + (span.volumes[one.volumeId]?.[8] ?? 0), 0)).toBe(3);
    await rm(folder, { recursive: true });
  }, 60_000);

  it('the command tells a forecast by the prices of the home, and refuses a file that is none', async () => {
    await using rig = await HomeRig.activated();
    await rig.ok('volume', 'create', 'db', '--size', '16MiB');
    const { storeId } = (await rig.ok('status'))['store'] as { storeId: string };
    const { volumeId } = await rig.ok('volume', 'show', 'db');
    const startMs = Date.now() - (Date.now() % 3_600_000) - 5 * 3_600_000;
    const use = [3650, 0, 0, 0, 0, 1e9, 2e9, 7_200_000, 3540, 3540, 600, 120, 40, 10];
    const span = {
      startMs,
      lengthMs: 3_600_000,
      firstMs: startMs,
      ranMs: 7_200_000,
      volumes: { [volumeId as string]: use },
    };
    const usage = JSON.stringify({ version: 1, storeId, spans: [span] });
    await writeFile(path.join(rig.home, 'usage.json'), usage);
    const prices = {
      ...{ name: 'ours', currency: 'EUR', storagePerGigabyteMonth: 0, putPerThousand: 0.01, getPerThousand: 0 },
      ...{
        headPerThousand: 0,
        listPerThousand: 0,
        deletePerThousand: 0,
        uploadPerGigabyte: 0,
        downloadPerGigabyte: 0.1,
      },
    };
    await writeFile(path.join(rig.home, 'prices.json'), JSON.stringify(prices));
    const stats = (await rig.ok('store', 'stats', 'db')) as unknown as StoreStatsDocument;
    // 365 times what two hours took.
    expect(stats.forecast.requests).toBeCloseTo(3.65 * 0.01 * 365, 8);
    expect(stats.forecast.traffic).toBeCloseTo(2 * 0.1 * 365, 8);
    expect(stats.intervals.map(({ intervalMs, commits, isCurrent }) => [intervalMs, commits, isCurrent])).toEqual([
      [10_000, 3540 * 365, true],
      [60_000, 600 * 365, false],
      [300_000, 120 * 365, false],
      [900_000, 40 * 365, false],
      [3_600_000, 10 * 365, false],
    ]);
    const { stdout, exitCode } = await rig.run(['store', 'stats', 'db']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/forecast:\s+86\.\d\d EUR a month: storage 0, requests 13\.32, traffic 73\.00/);
    expect(stdout).toMatch(/15 min\s+14600\s+15056\s+0\.15\s+up to 15 min/);
    await writeFile(path.join(rig.home, 'prices.json'), JSON.stringify({ ...prices, putPerThousand: 'cheap' }));
    expect(await rig.failure('store', 'stats')).toMatchObject({ exitCode: 2, code: 'bad-prices' });
    expect(await rig.ok('store', 'stats', '--prices', 'b2')).toMatchObject({ pricesPath: null });
  }, 60_000);
});

/** The sum of a metric's rows that have these labels. */
async function metricsOf(text: string): Promise<(name: string, labels: string) => number> {
  const rows = [...text.matchAll(METRIC)];
  return await Promise.resolve((name, labels) =>
    rows
      .filter(([, of, all]) => of === name && all?.startsWith(labels))
      .reduce((sum, [, , , value]) => sum + Number(value), 0),
  );
}

requireRadosgw().describe('over an S3 server', () => {
  let server: Radosgw;
  beforeAll(async () => {
    server = await sharedRadosgw();
  });

  it('each request that went over the wire is counted, those beside a call too', async () => {
    await using proxy = await S3Proxy.start({ port: server.port });
    await using rig = new HomeRig();
    await rig.ok('activate', '--name', 'lab', '--store', server.storeUrl('cost', proxy.port));
    await rig.ok('volume', 'create', 'db', '--size', '64MiB');
    const before = new Map(proxy.seen);
    // One in forty is refused once and tried again.
    proxy.fault = ({ index }) => (index % 40 === 39 ? 'busy' : undefined);
    await rig.ok('gateway', 'start');
    await rig.ok('volume', 'attach', 'db');
    const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'db');
    for (let i = 0; i < 3; i++) {
      await client.write(i * 4 * MIB, Buffer.alloc(MIB, i + 1));
      await client.flush();
      await rig.ok('snapshot', 'create', 'db', '--name', `s${String(i)}`, '--wait');
    }
    client.close();
    for (let i = 0; i < 2; i++) await rig.ok('snapshot', 'delete', `s${String(i)}`, '--yes');
    await rig.ok('store', 'gc', '--grace', '0s', '--yes');
    await rig.ok('store', 'gc', '--grace', '0s', '--yes');
    const stats = (await rig.ok('store', 'stats')) as unknown as StoreStatsDocument;
    const [puts, gets = 0, heads, deletes] = (['PUT', 'GET', 'HEAD', 'DELETE'] as const).map(
      (method) => (proxy.seen.get(method) ?? 0) - (before.get(method) ?? 0),
    );
    const { put = 0, get = 0, head = 0, list = 0, delete: removed = 0 } = stats.requests?.total ?? {};
    expect({ put, head, removed }).toEqual({ put: puts, head: heads, removed: deletes });
    // A second try of a slow read counts also where it was stopped before it was sent.
    expect(get + list).toBeGreaterThanOrEqual(gets);
    expect(get + list).toBeLessThanOrEqual(gets + 8);
    expect(removed).toBeGreaterThan(0);
    expect(proxy.seen.get('busy')).toBeGreaterThan(0);
    await rig.ok('gateway', 'stop');
  }, 180_000);
});
