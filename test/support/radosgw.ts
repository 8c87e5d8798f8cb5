/**
 * A real S3 server for tests: Ceph's RADOS gateway over one monitor and one OSD in memory, on loopback, with a user and a
 * bucket. Its processes end when it is disposed of, or at the latest after their time.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { requireThat, toolPath, type Requirement } from '../requirements.ts';
import { freePort } from './free-port.ts';

const run = promisify(execFile);
/** Ends what a test that died left running. */
const LIFE_S = 1200;
const READY_MS = 60_000;
const TOOLS = ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'ceph', 'monmaptool'] as const;

/** For tests over a real S3 server. */
export function requireRadosgw(): Requirement {
  const absent = TOOLS.filter((name) => toolPath(name) === undefined);
  return requireThat(absent.length === 0, `${absent.join(', ')} of Ceph's packages are not installed`);
}

/** What a client of the server has in its environment. */
export const S3_ENVIRONMENT = {
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'testsecret',
  AWS_EC2_METADATA_DISABLED: 'true',
} as const;

export class Radosgw implements AsyncDisposable {
  readonly #folder: string | undefined;
  readonly #children: ChildProcess[];
  readonly #port: number;
  readonly #lifeS: number;

  private constructor(folder: string | undefined, children: ChildProcess[], port: number, lifeS: number) {
    this.#folder = folder;
    this.#children = children;
    this.#port = port;
    this.#lifeS = lifeS;
  }

  /** Base URL of the server. */
  get endpoint(): string {
    return `http://127.0.0.1:${String(this.#port)}`;
  }

  /** One that somebody else started, and ends. */
  static at(port: number): Radosgw {
    return new Radosgw(undefined, [], port, 0);
  }

  get port(): number {
    return this.#port;
  }

  /** The URL of a store in the bucket, through another port where one stands before the server. */
  storeUrl(prefix: string, port = this.#port): string {
    return `s3://store/${prefix}?endpoint=http://127.0.0.1:${String(port)}&region=default&path-style=true`;
  }

  /** Starts it, with the bucket `store`. Takes some 10 s. It ends by itself after `lifeS`, 1200 s if nothing else is said. */
  static async start({ lifeS = LIFE_S }: { readonly lifeS?: number } = {}): Promise<Radosgw> {
    const folder = await mkdtemp(join(tmpdir(), 'sgw-rgw-'));
    const [monitorPort, port] = [await freePort(), await freePort()];
    const children: ChildProcess[] = [];
    const server = new Radosgw(folder, children, port, lifeS);
    try {
      await server.#begin(folder, monitorPort);
    } catch (error) {
      const log = await readFile(join(folder, 'radosgw.out'), 'utf8').catch(() => '');
      await server[Symbol.asyncDispose]();
      throw new Error(`radosgw did not start: ${log.slice(-2000)}`, { cause: error });
    }
    return server;
  }

  async #begin(folder: string, monitorPort: number): Promise<void> {
    const at = (name: string): string => join(folder, name);
    const [cluster, osd] = [randomUUID(), randomUUID()];
    await Promise.all(['mon', 'osd', 'log', 'rgw'].map(async (name) => mkdir(at(name))));
    await writeFile(at('ceph.conf'), configuration(folder, cluster, monitorPort, this.#port));
    const conf = ['-c', at('ceph.conf')];
    const tool = async (name: string, ...args: readonly string[]): Promise<string> =>
      (await run(toolOf(name), args, { timeout: READY_MS, env: { ...process.env, CEPH_CONF: at('ceph.conf') } }))
        .stdout;
    const address = `[v2:127.0.0.1:${String(monitorPort)}]`;
    await tool('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', address, at('monmap'));
    await tool('ceph-mon', ...conf, '-i', 'a', '--mkfs', '--monmap', at('monmap'), '--mon-data', at('mon'));
    this.#spawn('ceph-mon', '-f', ...conf, '-i', 'a', '--mon-data', at('mon'));
    await tool('ceph', ...conf, 'osd', 'new', osd);
    await tool('ceph-osd', ...conf, '-i', '0', '--mkfs', '--osd-uuid', osd);
    this.#spawn('ceph-osd', '-f', ...conf, '-i', '0');
    await until(async () => (await tool('ceph', ...conf, 'osd', 'stat')).includes('1 up'));
    this.#spawn('radosgw', '-f', ...conf, '-n', 'client.admin');
    const { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret } = S3_ENVIRONMENT;
    const user = ['--uid=test', '--display-name=test', `--access-key=${key}`, `--secret=${secret}`];
    await tool('radosgw-admin', ...conf, 'user', 'create', ...user);
    await until(async () => (await fetch(this.endpoint)).ok);
    await this.makeBucket('store');
  }

  /** Makes a bucket; one with versions keeps what is replaced, and this server heeds no conditions there. */
  async makeBucket(name: string, isVersioned = false): Promise<void> {
    const { CreateBucketCommand, PutBucketVersioningCommand, S3Client } = await import('@aws-sdk/client-s3');
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = S3_ENVIRONMENT;
    const client = new S3Client({
      endpoint: this.endpoint,
      region: 'default',
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey },
    });
    await client.send(new CreateBucketCommand({ Bucket: name }));
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    if (isVersioned) await client.send(new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration }));
    client.destroy();
  }

  #spawn(name: string, ...args: readonly string[]): void {
    const stdio = ['ignore', 'ignore', 'ignore'] as const;
    this.#children.push(spawn('timeout', [String(this.#lifeS), toolOf(name), ...args], { stdio: [...stdio] }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [...this.#children].reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const kill = setTimeout(() => {
        child.kill('SIGKILL');
      }, 5000);
      await ended;
      clearTimeout(kill);
    }
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

const toolOf = (name: string): string => {
  const path = toolPath(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
};

async function until(isReady: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + READY_MS;
  while (performance.now() < endMs) {
    if (await isReady().catch(() => false)) return;
    await delay(100);
  }
  throw new Error(`not ready within ${String(READY_MS / 1000)} s`);
}

const configuration = (folder: string, cluster: string, monitorPort: number, port: number): string => `[global]
fsid = ${cluster}
mon host = v2:127.0.0.1:${String(monitorPort)}
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
run dir = ${folder}
log file = ${folder}/log/$name.log
admin socket = ${folder}/$name.asok
pid file = ${folder}/$name.pid
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
[mon]
mon data = ${folder}/mon
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
[osd]
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
[client]
rgw frontends = beast endpoint=127.0.0.1:${String(port)}
rgw data = ${folder}/rgw
rgw dynamic resharding = false
rgw dns name = localhost
rgw enable usage log = false
rgw override bucket index max shards = 1
rgw gc obj min wait = 10
rgw gc processor period = 10
rgw gc processor max time = 10
`;
