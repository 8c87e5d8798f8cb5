/** An initiator that speaks to a logical unit without a transport between them. */
import { expect } from 'vitest';
import { MemoryDevice, type BlockDevice } from '../../../../src/core/blockdevice/index.ts';
import {
  LogicalUnit,
  STATUS,
  type LogicalUnitParts,
  type Nexus,
  type ScsiCommand,
  type UnitIdentity,
} from '../../../../src/core/iscsi/scsi/index.ts';

export const BLOCK = 512;
export const LUN_0 = Buffer.alloc(8);
const NOTHING = Buffer.alloc(0);

export const IDENTITY: UnitIdentity = {
  serial: '0123456789abcdef',
  naa: Buffer.from('6001405000112233445566778899aabb', 'hex'),
  revision: '0.1',
  isThin: true,
};

export const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

export interface Answer {
  readonly status: number;
  /** Key, additional sense code and qualifier, as `5/2400`; empty without sense data. */
  readonly sense: string;
  readonly senseBytes: Buffer;
  readonly data: Buffer;
  /** What the command says to have for the initiator. */
  readonly dataInBytes: number;
}

export interface SendOptions {
  readonly lun?: Buffer;
  readonly dataOut?: Buffer;
  /** What the initiator says to send, and how much it takes. */
  readonly dataOutBytes?: number;
  readonly takes?: number;
  readonly signal?: AbortSignal;
}

const described = (sense: Buffer): string => {
  if (sense.length === 0) return '';
  const isDescriptor = (sense.readUInt8(0) & 0x7f) >= 0x72;
  const key = isDescriptor ? sense.readUInt8(1) : sense.readUInt8(2) & 0x0f;
  const code = sense.subarray(isDescriptor ? 2 : 12, isDescriptor ? 4 : 14).toString('hex');
  return `${key.toString(16)}/${code}`;
};

export class Initiator {
  readonly unit: LogicalUnit;
  readonly nexus: Nexus;

  private constructor(unit: LogicalUnit, nexus: Nexus) {
    this.unit = unit;
    this.nexus = nexus;
    unit.join(nexus);
  }

  static of(unit: LogicalUnit, nexus: Nexus): Initiator {
    return new Initiator(unit, nexus);
  }

  static on(
    unit: LogicalUnit,
    device: BlockDevice,
    options: { readonly id?: number; readonly isReadOnly?: boolean } = {},
  ): Initiator {
    return new Initiator(unit, {
      device,
      isReadOnly: options.isReadOnly ?? false,
      initiatorPort: `iqn.2020-01.com.example:host${String(options.id ?? 1)},i,0x800000000001`,
      targetPort: 'iqn.2020-01.com.example:disk,t,0x0001',
      relativePort: 1,
    });
  }

  /** Decodes, and gives the command no data yet. */
  prepare(cdb: string, { lun = LUN_0, dataOut, dataOutBytes }: SendOptions = {}): ScsiCommand | Answer {
    const padded = Buffer.alloc(16);
    hex(cdb).copy(padded);
    const prepared = this.unit.prepare(this.nexus, lun, padded, dataOutBytes ?? dataOut?.length ?? 0);
    // What is left of it afterwards is somebody else's.
    padded.fill(0xee);
    if ('run' in prepared) return prepared;
    const senseBytes = prepared.sense ?? NOTHING;
    return { ...prepared, senseBytes, sense: described(senseBytes), data: NOTHING };
  }

  async send(cdb: string, options: SendOptions = {}): Promise<Answer> {
    const prepared = this.prepare(cdb, options);
    if (!('run' in prepared)) return prepared;
    const given = options.dataOut ?? NOTHING;
    const dataOut = given.subarray(0, prepared.dataOutBytes);
    const dataIn = Buffer.alloc(Math.min(prepared.dataInBytes, options.takes ?? Infinity), 0xdd);
    const result = await prepared.run(dataOut, dataIn, options.signal ?? new AbortController().signal);
    expect(result.dataInBytes).toBeLessThanOrEqual(prepared.dataInBytes);
    const senseBytes = result.sense ?? NOTHING;
    expect(senseBytes.length > 0).toBe(result.status === STATUS.checkCondition);
    const data = dataIn.subarray(0, result.dataInBytes);
    return { status: result.status, sense: described(senseBytes), senseBytes, data, dataInBytes: result.dataInBytes };
  }

  /** Takes what is told once. */
  async settle(): Promise<this> {
    for (let i = 0; i < 8; i++) if ((await this.send('00')).status === STATUS.good) return this;
    throw new Error('unit attentions do not end');
  }

  /** Sends what must be GOOD. */
  async good(cdb: string, options: SendOptions = {}): Promise<Buffer> {
    const { status, sense, data } = await this.send(cdb, options);
    expect({ status, sense }).toEqual({ status: STATUS.good, sense: '' });
    return data;
  }
}

export interface Bench {
  readonly unit: LogicalUnit;
  readonly device: MemoryDevice;
  /** Has taken its first unit attention. */
  readonly host: Initiator;
  /** Another one, as new as it comes. */
  another(id: number): Initiator;
}

/** A unit over a device in memory, with an initiator. */
export async function newBench(
  parts: Partial<LogicalUnitParts> = {},
  device: MemoryDevice = new MemoryDevice(1 << 20),
): Promise<Bench> {
  const unit = new LogicalUnit({ identity: IDENTITY, abortTasks: () => undefined, ...parts });
  const host = await Initiator.on(unit, device).settle();
  return { unit, device, host, another: (id) => Initiator.on(unit, device, { id }) };
}

/** CHECK CONDITION with this sense. */
export const check = (sense: string): Partial<Answer> => ({ status: STATUS.checkCondition, sense });
export const INVALID_FIELD = check('5/2400');
export const CONFLICT: Partial<Answer> = { status: STATUS.reservationConflict, sense: '' };
export const GOOD: Partial<Answer> = { status: STATUS.good, sense: '' };
