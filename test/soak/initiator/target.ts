/** The gateway whose volume the initiator logs in to, and what is done to it under load. */
import { createHash } from 'node:crypto';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { sgw } from '../run-sgw.ts';
import type { SoakStore } from '../store.ts';
import { placeIn, type Place } from '../verb.ts';
import { HOST } from './machine.ts';
import { freePort } from '../../support/free-port.ts';

/** Twelve to sixteen bytes each. */
export const SECRETS = { initiator: 'secret-of-vm-17', target: 'secret-of-sgw-9' } as const;

/** An initiator reads every fourth MiB in the end. */
export const SLICES = 4;

const MIB = 1 << 20;
const BUFFER = '64MiB';
/** Longer than the initiator waits for an answer to a ping, which is 5 s after 5 s of silence. */
const STALL_MS = 14_000;
/** Three times what a command has: the kernel begins to abort after two, since there was progress, and gives up after six. */
const STANDSTILL_MS = 18_000;
const WAIT_MS = 120_000;

interface ExportState {
  readonly state: string;
  readonly reason: string | null;
  readonly clients: number;
}

interface GatewayState {
  readonly pid: number;
  readonly exports: readonly ExportState[];
}

export class Target {
  readonly #place: Place;
  readonly #store: SoakStore;
  readonly #random: Random;
  #isStoreAway = false;

  constructor(folder: string, store: SoakStore, random: Random) {
    this.#place = placeIn(folder);
    this.#store = store;
    this.#random = random;
  }

  /** A gateway with two portals, which are reached from the machine; their addresses there. */
  async begin(): Promise<readonly [string, string]> {
    const ports = [await freePort(), await freePort()] as const;
    const portals = ports.map((port) => `${HOST}:${String(port)}`);
    await this.#sgw('activate', '--name', 'initiator', '--store', this.#store.where);
    const listen = ports.flatMap((port) => ['--iscsi-listen', `tcp:127.0.0.1:${String(port)}`]);
    await this.#sgw('configure', ...listen, ...portals.flatMap((portal) => ['--iscsi-portal', portal]));
    for (const [name, secret] of Object.entries(SECRETS))
      writeFileSync(this.#secretFile(name), secret, { mode: 0o600 });
    await this.#sgw('gateway', 'start');
    return [portals[0] ?? '', portals[1] ?? ''];
  }

  /** A new volume, of which the initiator proves who it is, as does the target; the target's name. */
  async serve(name: string, sizeBytes: number): Promise<string> {
    await this.#sgw('volume', 'create', name, '--size', String(sizeBytes));
    await this.#sgw('volume', 'configure', name, '--buffer', BUFFER, '--seal-interval', '1s');
    const mutual = ['--chap', 'initiator', '--chap-secret-file', this.#secretFile('initiator')];
    const own = ['--chap-target', 'target', '--chap-target-secret-file', this.#secretFile('target')];
    const attached = await this.#sgw('volume', 'attach', name, '--protocol', 'iscsi', ...mutual, ...own, '--json');
    return (JSON.parse(attached) as { iscsi: { targetName: string } }).iscsi.targetName;
  }

  /** Kills the gateway, and starts it again after a while, in which connections are refused. */
  async kill(): Promise<void> {
    const pid = await this.#pid();
    process.kill(pid, 'SIGKILL');
    await until('the gateway is dead', async () => Promise.resolve(!existsSync(`/proc/${String(pid)}`)));
    await delay(this.#random.float() * 6000);
    await this.#sgw('gateway', 'start');
  }

  async restart(): Promise<void> {
    await this.#sgw('gateway', 'restart');
  }

  /** The gateway stands still until the initiator misses the answers to its pings. */
  async stall(): Promise<void> {
    const pid = await this.#pid();
    process.kill(pid, 'SIGSTOP');
    try {
      await delay(STALL_MS + this.#random.float() * 4000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  }

  /** The store is away until writes have waited for so long that the initiator aborts them. */
  async outage(): Promise<void> {
    this.#store.take();
    this.#isStoreAway = true;
    const isFull = async (): Promise<boolean> =>
      (await this.#state()).reason?.includes('upload buffer is full') === true;
    await until('the upload buffer is full', isFull);
    await delay(STANDSTILL_MS);
    this.#bringStore();
    await until('the store is there again', async () => (await this.#state()).state === 'available');
  }

  async grow(name: string, sizeBytes: number): Promise<void> {
    await this.#sgw('volume', 'resize', name, '--size', String(sizeBytes));
  }

  /**
   * No initiator is left, and the store alone has, in a snapshot, what the initiator read in the end, which is every fourth MiB from
   * `slice` on; nothing is left of the volume then.
   * @throws Error when it has not
   */
  async endVolume(name: string, slice: number, md5: string): Promise<void> {
    const { clients } = await this.#state();
    if (clients !== 0) throw new Error(`${String(clients)} initiators are left after the logout`);
    await this.#sgw('volume', 'detach', name);
    await this.#sgw('snapshot', 'create', name, '--name', `end-${name}`, '--wait');
    const image = join(this.#place.folder, `${name}.img`);
    await this.#sgw('snapshot', 'export', `end-${name}`, image);
    const found = await md5Of(image, slice);
    if (found !== md5) throw new Error(`the store has data with MD5 ${found}, the initiator read ${md5}`);
    rmSync(image);
    await this.#sgw('snapshot', 'delete', `end-${name}`, '--yes');
    await this.#sgw('volume', 'delete', name, '--yes');
  }

  async end(): Promise<void> {
    await this.#sgw('gateway', 'stop');
  }

  /** Ends whatever is left. */
  async destroy(): Promise<void> {
    if (this.#isStoreAway) this.#bringStore();
    const pid = await this.#pid().catch(() => undefined);
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }

  #bringStore(): void {
    this.#store.bring();
    this.#isStoreAway = false;
  }

  #secretFile(name: string): string {
    return join(this.#place.folder, `secret-of-${name}`);
  }

  async #show(): Promise<GatewayState> {
    return JSON.parse(await this.#sgw('gateway', 'show', '--json')) as GatewayState;
  }

  async #pid(): Promise<number> {
    return (await this.#show()).pid;
  }

  /** Of the only export. */
  async #state(): Promise<ExportState> {
    const [state] = (await this.#show()).exports;
    if (state === undefined) throw new Error('nothing is attached');
    return state;
  }

  async #sgw(...words: string[]): Promise<string> {
    return await sgw(this.#place, ...words);
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + WAIT_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`waited in vain until ${what}`);
    await delay(250);
  }
}

async function md5Of(image: string, slice: number): Promise<string> {
  const hash = createHash('md5');
  const bytes = Buffer.alloc(MIB);
  await using file = await open(image);
  const { size } = await file.stat();
  for (let at = slice * MIB; at < size; at += SLICES * MIB) {
    const { bytesRead } = await file.read(bytes, 0, MIB, at);
    hash.update(bytes.subarray(0, bytesRead));
  }
  return hash.digest('hex');
}
