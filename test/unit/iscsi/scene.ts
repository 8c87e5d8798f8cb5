/** A server over a device in memory, and initiators that speak in bytes. */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'vitest';
import { MemoryDevice, type BlockDevice } from '../../../src/core/blockdevice/index.ts';
import {
  IscsiServer,
  type ChapRules,
  type IscsiServerOptions,
  type TargetDirectory,
} from '../../../src/core/iscsi/index.ts';
import { SgwError, systemClock } from '../../../src/core/kit/index.ts';
import { chapAnswer, keysOf, loginHeader, readResponse, text, valueOf, type Response } from './login-builder.ts';
import {
  cdb,
  command,
  fixedSense,
  NO_DATA,
  NO_TAG,
  scsiResponse,
  withDigests,
  type Numbers,
  type PduDigests,
} from './pdu-builder.ts';
import { ByteClient, waitFor } from '../sockets/byte-client.ts';

export const SIZE = 1 << 20;
export const TARGET = 'iqn.2026-11.example:vol1';
export const INITIATOR = 'iqn.1993-08.org.debian:01:abc';
/** Commands of a session that may be under way by default. */
const WINDOW = 128;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Memory of buffers that somebody still holds. */
export function heldBytes(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

export interface SceneOptions extends Partial<Omit<IscsiServerOptions, 'directory' | 'clock'>> {
  readonly device?: BlockDevice;
  readonly isReadOnly?: boolean;
  readonly chap?: ChapRules;
  /** What opening waits for. */
  readonly opening?: () => Promise<void>;
}

/** Serves TARGET; counts what is open. */
export class MemoryTarget implements TargetDirectory {
  readonly device: BlockDevice;
  readonly #options: SceneOptions;
  opened = 0;
  released = 0;

  constructor(options: SceneOptions) {
    this.#options = options;
    this.device = options.device ?? new MemoryDevice(SIZE);
  }

  list: TargetDirectory['list'] = async () => Promise.resolve([{ name: TARGET }]);

  discoveryChap: TargetDirectory['discoveryChap'] = () => undefined;

  find: TargetDirectory['find'] = async (target) => {
    if (target !== TARGET) throw new SgwError('notFound', 'no-target', `there is no target ${target}`);
    return Promise.resolve({ kind: 'here', name: TARGET, alias: '', chap: this.#options.chap });
  };

  open: TargetDirectory['open'] = async () => {
    this.opened += 1;
    await this.#options.opening?.();
    return {
      device: this.device,
      isReadOnly: this.#options.isReadOnly ?? false,
      unit: { serial: 'vol1', naa: Buffer.alloc(16, 0x60), revision: '1', isThin: true },
      release: async () => {
        this.released += 1;
        return Promise.resolve();
      },
    };
  };
}

export class Scene {
  readonly target: MemoryTarget;
  readonly server: IscsiServer;
  port = 0;
  /** Why initiators were let go. */
  readonly faults: string[] = [];
  readonly #window: number;
  readonly #initiators: Initiator[] = [];

  private constructor(options: SceneOptions) {
    this.target = new MemoryTarget(options);
    this.#window = options.limits?.commandsMax ?? WINDOW;
    const { limits, wishes, portals, random } = options;
    this.server = new IscsiServer({
      directory: this.target,
      clock: systemClock,
      onClientFault: (_info, reason) => this.faults.push(reason),
      ...(limits === undefined ? {} : { limits }),
      ...(wishes === undefined ? {} : { wishes }),
      ...(portals === undefined ? {} : { portals }),
      ...(random === undefined ? {} : { random }),
    });
  }

  static async open(options: SceneOptions = {}): Promise<Scene> {
    const scene = new Scene(options);
    const address = await scene.server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    if (address.kind === 'tcp') scene.port = address.port;
    return scene;
  }

  /** A connection on which nothing was sent. */
  async connect(): Promise<Initiator> {
    const initiator = await Initiator.connect(this.port, this.#window);
    this.#initiators.push(initiator);
    return initiator;
  }

  /** An initiator in full feature phase that knows that the unit was powered on. */
  async initiator(options: LoginOptions = {}): Promise<Initiator> {
    const initiator = await this.connect();
    await initiator.login(options);
    if (options.isDiscovery !== true && (options.tsih ?? 0) === 0) await initiator.takeAttention();
    return initiator;
  }

  /** Resolves when all that was opened is released and nobody is connected. */
  async settled(): Promise<void> {
    await waitFor('all is released', () => {
      return this.target.opened === this.target.released && this.server.sessions().length === 0;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const initiator of this.#initiators) initiator.socket.destroy();
    await this.server.close({ deadlineMs: 2000 });
  }
}

export interface LoginOptions {
  /** Operational keys beside the names. */
  readonly keys?: readonly string[];
  readonly isDiscovery?: boolean;
  readonly isid?: string;
  readonly tsih?: number;
  readonly cid?: number;
  readonly cmdSn?: number;
  readonly name?: string;
}

/** Wants nothing asked for that may come unasked, and no digests. */
export const EAGER = ['InitialR2T=No', 'ImmediateData=Yes'];

const FIRST_CMD_SN = 100;

export class Initiator extends ByteClient {
  digests: PduDigests = { header: false, data: false };
  /** CmdSN of the next command. */
  cmdSn = FIRST_CMD_SN;
  /** StatSN of the next response that has one. */
  statSn = 0;
  tsih = 0;
  keys: readonly string[] = [];
  readonly #window: number;

  private constructor(socket: Socket, window: number) {
    super(socket);
    this.#window = window;
  }

  static async connect(port: number, window = WINDOW): Promise<Initiator> {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    const initiator = new Initiator(socket, window);
    await initiator.connected();
    return initiator;
  }

  /** One login request to full feature phase, whose answer must be good. */
  async login({
    keys = EAGER,
    isDiscovery = false,
    isid,
    tsih,
    cid,
    cmdSn,
    name = INITIATOR,
  }: LoginOptions = {}): Promise<Response> {
    const pairs = [`InitiatorName=${name}`, isDiscovery ? 'SessionType=Discovery' : `TargetName=${TARGET}`, ...keys];
    const header = loginHeader({
      flags: 0x87,
      ...(isid === undefined ? {} : { isid }),
      ...(tsih === undefined ? {} : { tsih }),
      ...(cid === undefined ? {} : { cid }),
      cmdSn: cmdSn ?? FIRST_CMD_SN,
    });
    this.sendLogin(header, text(...pairs));
    const response = readResponse(await this.takePdu());
    if (response.status !== 0) throw new Error(`the login ends with ${response.status.toString(16)}`);
    expect(response.transit).toBe(true);
    this.statSn = response.statSn + 1;
    this.cmdSn = response.expCmdSn;
    this.tsih = response.tsih;
    this.keys = response.keys;
    this.digests = {
      header: valueOf(response.keys, 'HeaderDigest') === 'CRC32C',
      data: valueOf(response.keys, 'DataDigest') === 'CRC32C',
    };
    return response;
  }

  sendLogin(header: Buffer, data: Buffer): void {
    header.writeUIntBE(data.length, 5, 3);
    this.socket.write(Buffer.concat([header, data, Buffer.alloc(-data.length & 3)]));
  }

  /** The status of a login with CHAP. */
  async loginWithChap(user: string, secret: string): Promise<number> {
    this.sendLogin(
      loginHeader({ flags: 0x00 }),
      text(`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`, 'AuthMethod=CHAP'),
    );
    await this.takePdu();
    this.sendLogin(loginHeader({ flags: 0x00 }), text('CHAP_A=5'));
    const keys = keysOf((await this.takeParts()).data);
    const challenge = Buffer.from(valueOf(keys, 'CHAP_C')?.slice(2) ?? '', 'hex');
    const answer = chapAnswer('5', Number(valueOf(keys, 'CHAP_I')), secret, challenge);
    this.sendLogin(loginHeader({ flags: 0x83 }), text(`CHAP_N=${user}`, `CHAP_R=0x${answer.toString('hex')}`));
    return readResponse(await this.takePdu()).status;
  }

  /** The first command is told that the unit was powered on. */
  async takeAttention(): Promise<void> {
    this.send(command({ itt: 0xfff, cmdSn: this.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }));
    await this.expect(scsiResponse({ itt: 0xfff, status: 2, sense: fixedSense(6, 0x2900), ...this.status() }));
  }

  /** Numbers of the next response, while `pending` commands are under way. It uses up a StatSN. */
  status(pending = 0): Numbers {
    const statSn = this.statSn;
    this.statSn = (statSn + 1) >>> 0;
    return { ...this.numbers(pending), statSn };
  }

  /** Numbers of a response that uses up no StatSN. */
  numbers(pending = 0): Numbers {
    return { statSn: this.statSn, expCmdSn: this.cmdSn, maxCmdSn: (this.cmdSn + this.#window - 1 - pending) >>> 0 };
  }

  send(...pdus: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(pdus.map((plain) => withDigests(plain, this.digests))));
  }

  /** Compares the next bytes with PDUs, to which digests are added where they are agreed on. */
  async expect(...pdus: readonly Buffer[]): Promise<void> {
    for (const plain of pdus) {
      const expected = withDigests(plain, this.digests);
      const got = await this.take(expected.length);
      if (!got.equals(expected)) expect(show(got)).toBe(show(expected));
    }
  }

  /** The next PDU without its digests, which must be right. */
  async takePdu(): Promise<Buffer> {
    const { header, data } = await this.takeParts();
    return Buffer.concat([header, data, Buffer.alloc(-data.length & 3)]);
  }

  async takeParts(): Promise<{ readonly header: Buffer; readonly data: Buffer }> {
    const header = await this.take(48);
    const length = header.readUIntBE(5, 3);
    const padded = (length + 3) & ~3;
    const headerDigest = this.digests.header ? await this.take(4) : Buffer.alloc(0);
    const data = await this.take(padded);
    const dataDigest = this.digests.data && length > 0 ? await this.take(4) : Buffer.alloc(0);
    const plain = Buffer.concat([header, data]);
    const got = Buffer.concat([header, headerDigest, data, dataDigest]);
    if (!got.equals(withDigests(plain, this.digests))) throw new Error(`a wrong digest: ${show(got)}`);
    return { header, data: data.subarray(0, length) };
  }

  /** Nothing is waiting to be read, once a ping was answered. */
  async expectQuiet(): Promise<void> {
    this.socket.write(
      withDigests(
        Buffer.concat([
          Buffer.from([0x40, 0x80]),
          Buffer.alloc(14),
          Buffer.from('00001234ffffffff', 'hex'),
          Buffer.alloc(24),
        ]),
        this.digests,
      ),
    );
    const { header } = await this.takeParts();
    expect(header[0]).toBe(0x20);
    expect(header.readUInt32BE(16)).toBe(0x1234);
    expect(header.readUInt32BE(20)).toBe(NO_TAG);
    const { statSn } = this.status();
    expect(header.readUInt32BE(24)).toBe(statSn);
  }

  /** Nothing comes for a while. */
  async expectNothing(): Promise<void> {
    const before = this.receivedLength;
    await delay(50);
    expect(this.receivedLength).toBe(before);
  }
}

/** A PDU as lines of 16 bytes, so that a difference is seen. */
const show = (bytes: Buffer): string =>
  bytes
    .toString('hex')
    .replaceAll(/(.{8})/gu, '$1 ')
    .replaceAll(/(.{36})/gu, '$1\n');
