/**
 * Holders of one volume in memory, one after the other, each an NBD server behind a link that can be cut; and a device that follows
 * them. Calls of a holder take a while, so that there are always some under way.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import {
  MemoryDevice,
  type BlockDevice,
  type DeviceCall,
  type DeviceExtent,
  type DeviceLimits,
} from '../../../src/core/blockdevice/index.ts';
import { FollowingDevice, givenHolders, type FollowEvent, type FollowOptions } from '../../../src/core/follow/index.ts';
import { seededRandom, SgwError, systemClock, throwIfAborted, type Random } from '../../../src/core/kit/index.ts';
import { NbdServer } from '../../../src/core/nbd/index.ts';
import type { ListenAddress } from '../../../src/core/sockets/index.ts';

/** The volume as one holder has it: right until another one takes over. */
export class ReignDevice implements BlockDevice {
  readonly volume: MemoryDevice;
  readonly #random: Random;
  sizeBytes: number;
  isReadOnly = false;
  /** Another one holds the volume: nothing is done any more. */
  isFenced = false;
  /** Calls do not end before they are told to stop. */
  isMute = false;
  /** What the next call fails with. */
  failure: SgwError | undefined;
  /** How many of the calls take long. */
  longShare = 0.2;
  calls = 0;
  flushes = 0;

  constructor(volume: MemoryDevice, random: Random) {
    this.volume = volume;
    this.#random = random;
    this.sizeBytes = volume.sizeBytes;
  }

  get limits(): DeviceLimits {
    const { blockBytesMin, blockBytesPreferred, payloadBytesMax } = this.volume.limits;
    return { blockBytesMin, blockBytesPreferred, payloadBytesMax };
  }

  async #run<T>(call: DeviceCall | undefined, apply: () => T): Promise<T> {
    this.calls += 1;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    for (let turns = Math.floor(this.#random.float() ** 3 * 40); turns > 0 || this.isMute; turns--) {
      await turn();
      throwIfAborted(call?.signal);
    }
    // Longer than a connection is lost: what is asked again elsewhere may be over when this goes on.
    if (this.#random.float() < this.longShare) {
      await delay(
        60 + this.#random.float() * 100,
        undefined,
        call?.signal === undefined ? {} : { signal: call.signal },
      );
    }
    if (this.isFenced) throw new SgwError('fenced', 'fenced', 'another gateway holds the volume');
    return apply();
  }

  async read(offset: number, target: Buffer, call?: DeviceCall): Promise<void> {
    await this.#run(call, () => this.volume.read(offset, target));
  }

  async write(offset: number, data: Buffer, call?: DeviceCall): Promise<void> {
    await this.#run(call, () => this.volume.write(offset, data));
  }

  async trim(offset: number, length: number, call?: DeviceCall): Promise<void> {
    await this.#run(call, () => this.volume.trim(offset, length));
  }

  async writeZeroes(offset: number, length: number, call?: DeviceCall): Promise<void> {
    await this.#run(call, () => this.volume.writeZeroes(offset, length));
  }

  async flush(call?: DeviceCall): Promise<void> {
    this.flushes += 1;
    await this.#run(call, () => undefined);
  }

  async prefetch(_offset: number, _length: number, call?: DeviceCall): Promise<void> {
    await this.#run(call, () => undefined);
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    return await this.#run(call, async () => this.volume.extents(offset, length, piecesMax));
  }
}

/** A way to a unix socket that can be cut, so that neither side is told by the other. */
class Link {
  readonly path: string;
  readonly #server: Server;
  readonly #near = new Set<Socket>();
  readonly #far = new Set<Socket>();
  isDown = false;
  /** What is sent on connections that are there now goes nowhere, for good, and nobody is told. */
  isHoled = false;

  constructor(path: string, target: string) {
    this.path = path;
    this.#server = createServer((near) => {
      if (this.isDown) {
        near.destroy();
        return;
      }
      const far = connect(target);
      this.#near.add(near);
      this.#far.add(far);
      let isLost = false;
      near
        .on('error', () => undefined)
        .on('data', (data) => {
          isLost ||= this.isHoled;
          if (!isLost) far.write(data);
        });
      far.on('error', () => undefined).on('data', (data) => near.write(data));
      far.on('close', () => {
        this.#far.delete(far);
        near.destroy();
      });
      near.on('close', () => this.#near.delete(near));
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
  }

  /** Whoever follows sees the end; the holder does not. */
  cut(): void {
    for (const near of this.#near) near.destroy();
  }

  close(): void {
    this.cut();
    for (const far of this.#far) far.destroy();
    this.#server.close();
  }
}

export interface Holder {
  readonly device: ReignDevice;
  readonly link: Link;
  readonly server: NbdServer;
  readonly epoch: number;
}

export interface HoldersOptions extends Partial<FollowOptions> {
  readonly sizeBytes?: number;
  readonly seed?: number;
  /** Whether holders tell their epoch; else they are as other people's servers. */
  readonly isOwn?: boolean;
}

export class Holders implements AsyncDisposable {
  readonly volume: MemoryDevice;
  readonly events: FollowEvent[] = [];
  readonly all: Holder[] = [];
  readonly #folder: string;
  readonly #options: HoldersOptions;
  readonly #random: Random;
  /** Where holders are looked for. */
  readonly addresses: ListenAddress[] = [];
  readonly #devices: FollowingDevice[] = [];

  private constructor(folder: string, options: HoldersOptions) {
    this.#folder = folder;
    this.#options = options;
    this.volume = new MemoryDevice(options.sizeBytes ?? 1 << 20);
    this.#random = seededRandom(options.seed ?? 1);
  }

  static async open(options: HoldersOptions = {}): Promise<Holders> {
    const holders = new Holders(await mkdtemp(path.join(tmpdir(), 'sgw-follow-')), options);
    await holders.add();
    return holders;
  }

  get current(): Holder {
    const holder = this.all.at(-1);
    if (holder === undefined) throw new Error('no holder');
    return holder;
  }

  /** Another holder begins; it does not fence the one before. */
  async add(volumeName: string | null = 'vol-0'): Promise<Holder> {
    const number = this.all.length;
    const target = path.join(this.#folder, `s${String(number)}`);
    const epoch = number + 1;
    const device = new ReignDevice(this.volume, this.#random);
    const server = new NbdServer({
      clock: systemClock,
      directory: {
        isListed: true,
        list: async () => Promise.resolve([]),
        open: async (name) => {
          if (name !== 'disk') return Promise.reject(new SgwError('notFound', 'export', `there is no export ${name}`));
          return Promise.resolve({
            device,
            name,
            description: '',
            isReadOnly: device.isReadOnly,
            isMultiConn: true,
            contexts: [],
            ...(this.#options.isOwn === false || volumeName === null ? {} : { writer: { volume: volumeName, epoch } }),
            release: async () => Promise.resolve(),
          });
        },
      },
    });
    await server.listen({ kind: 'unix', path: target });
    const link = new Link(path.join(this.#folder, `l${String(number)}`), target);
    await link.listen();
    this.addresses.push({ kind: 'unix', path: link.path });
    const holder: Holder = { device, link, server, epoch };
    this.all.push(holder);
    return holder;
  }

  /** The next holder takes over: the one before is fenced from then on. */
  async takeOver(): Promise<Holder> {
    this.current.device.isFenced = true;
    return await this.add();
  }

  async follow(options: Partial<FollowOptions> = {}): Promise<FollowingDevice> {
    const { sizeBytes: _size, seed: _seed, isOwn: _isOwn, ...given } = this.#options;
    const device = await FollowingDevice.open(
      {
        finder: givenHolders({ addresses: this.addresses, exportName: 'disk' }),
        isReadOnly: false,
        silenceMs: 60_000,
        clock: systemClock,
        random: seededRandom(7),
        onEvent: (event) => this.events.push(event),
        ...given,
        ...options,
      },
      new AbortController().signal,
    );
    this.#devices.push(device);
    return device;
  }

  /** Ends a holder as a kill does. */
  async crash(holder: Holder): Promise<void> {
    holder.link.isDown = true;
    holder.link.close();
    holder.device.isFenced = true;
    await holder.server.close({ deadlineMs: 0 });
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind).filter((kind) => kind !== 'looking');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.#devices) await device.close().catch(() => undefined);
    for (const { device, link, server } of this.all) {
      device.isMute = false;
      link.close();
      await server.close({ deadlineMs: 0 });
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}
