/**
 * Any CDB with any data, from several initiators: a logical unit answers, within the bounds that it said, and what it refuses has changed
 * nothing. SGW_SEED=N replays a run.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import { LogicalUnit, STATUS, type Nexus, type ScsiResult } from '../../src/core/iscsi/scsi/index.ts';
import { IDENTITY, LUN_0 } from '../unit/iscsi/scsi/initiator.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261125);
const BLOCKS = 64;
const KNOWN_STATUS: readonly number[] = [STATUS.good, STATUS.checkCondition, STATUS.reservationConflict];
/** Taken of an answer; a transport would not make more room either. */
const TAKEN_MAX = 1 << 20;

interface Sent {
  readonly host: number;
  readonly lun: Buffer;
  readonly cdb: Buffer;
  readonly data: Buffer;
  /** How much of the data the initiator says to send, and how much comes. */
  readonly said: number;
  readonly comes: number;
}

const bytes = (max: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength: max }).map((all) => Buffer.from(all));
const fixed = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((all) => Buffer.from(all));
const small = fc.oneof(fc.nat(BLOCKS + 2), fc.nat(3));

/** All of the table's operation codes, and some that are not in it. */
const OPCODES = [
  0x00, 0x03, 0x04, 0x08, 0x0a, 0x12, 0x15, 0x16, 0x17, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2e, 0x2f, 0x34, 0x35,
  0x37, 0x41, 0x42, 0x55, 0x5a, 0x5e, 0x5f, 0x7f, 0x83, 0x84, 0x88, 0x89, 0x8a, 0x8b, 0x8e, 0x8f, 0x90, 0x91, 0x93,
  0x9e, 0xa0, 0xa3, 0xa4, 0xa8, 0xaa, 0xae, 0xaf, 0xb7,
];

/** Fields where commands of this group have them, so that many are good; then a byte of noise in some. */
const likelyCdb = fc
  .record({
    opcode: fc.constantFrom(...OPCODES),
    flags: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(0x1f), fc.nat(0xff)),
    lba: small,
    count: small,
    noise: fc.option(fc.tuple(fc.nat(15), fc.nat(255)), { freq: 2 }),
  })
  .map(({ opcode, flags, lba, count, noise }) => {
    const cdb = Buffer.alloc(16);
    cdb[0] = opcode;
    cdb[1] = flags;
    const group = opcode >> 5;
    if (group === 0) cdb.set([lba, count], 3);
    else cdb.writeUInt32BE(lba, group === 4 ? 6 : 2);
    if (group === 1 || group === 2) cdb.writeUInt16BE(count, 7);
    else if (group > 3) cdb.writeUInt32BE(count, group === 4 ? 10 : 6);
    if (noise !== null && count % 3 === 0) cdb[noise[0]] = noise[1];
    return cdb;
  });

const unmap = fc
  .tuple(fc.array(fc.tuple(fc.oneof(small, fc.nat(0xffff_ffff)), small), { maxLength: 6 }), fc.nat(120), fc.nat(3))
  .map(([extents, listBytes, lie]) => {
    const list = Buffer.alloc(8 + extents.length * 16);
    list.writeUInt16BE(Math.max(0, list.length - 2 + lie - 1), 0);
    list.writeUInt16BE(extents.length * 16, 2);
    extents.forEach(([lba, blocks], i) => {
      list.writeUInt32BE(lba, 12 + i * 16);
      list.writeUInt32BE(blocks, 16 + i * 16);
    });
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x42;
    cdb.writeUInt16BE(lie === 0 ? listBytes : list.length, 7);
    return { cdb, data: list };
  });

const modeSelect = fc
  .record({
    isLong: fc.boolean(),
    page: fc.constantFrom(
      '0a0a021000000000ffff0000',
      '08120400ffff0000ffffffff0000000000000000',
      '1c0a00000000000000000000',
      '4a01001c',
    ),
    at: fc.nat(20),
    value: fc.nat(255),
    tail: bytes(40),
  })
  .map(({ isLong, page, at, value, tail }) => {
    const data = Buffer.concat([
      Buffer.alloc(isLong ? 8 : 4),
      Buffer.from(page, 'hex'),
      tail.subarray(0, tail.length % 3 === 0 ? 0 : 40),
    ]);
    if (at < data.length) data[at] = value;
    const cdb = Buffer.alloc(16);
    cdb[0] = isLong ? 0x55 : 0x15;
    cdb[1] = 0x10;
    cdb[isLong ? 8 : 4] = data.length;
    return { cdb, data };
  });

const key = fc.nat(2);
const reserveOut = fc
  .record({
    action: fc.nat(8),
    type: fc.nat(9),
    key,
    newKey: key,
    flags: fc.constantFrom(0, 0, 0, 1, 4, 8, 12),
    more: bytes(80),
  })
  .map(({ action, type, key: own, newKey, flags, more }) => {
    const list = Buffer.alloc(24);
    list[7] = own;
    list[15] = newKey;
    list[20] = flags;
    const data = (flags & 8) === 0 && action !== 7 ? list : Buffer.concat([list, more]);
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x5f;
    cdb[1] = action;
    cdb[2] = type;
    cdb.writeUInt32BE(data.length, 5);
    return { cdb, data };
  });

const withData = (data: fc.Arbitrary<Buffer>, cdb: fc.Arbitrary<Buffer>): fc.Arbitrary<{ cdb: Buffer; data: Buffer }> =>
  fc.record({ cdb, data });

const sent: fc.Arbitrary<Sent> = fc
  .record({
    host: fc.nat(1),
    lun: fc.oneof({ weight: 20, arbitrary: fc.constant(LUN_0) }, { weight: 1, arbitrary: fixed(8) }),
    what: fc.oneof(
      {
        weight: 6,
        arbitrary: withData(
          fc.constantFrom(Buffer.alloc(64 * 512, 0x5a), Buffer.alloc(700, 1), Buffer.alloc(0)),
          likelyCdb,
        ),
      },
      { weight: 1, arbitrary: withData(bytes(64), fc.oneof(bytes(16), fixed(16), fixed(32))) },
      unmap,
      modeSelect,
      reserveOut,
    ),
    lies: fc.option(fc.tuple(fc.nat(2000), fc.nat(2000)), { freq: 4 }),
  })
  .map(({ host, lun, what: { cdb, data }, lies }) => ({
    host,
    lun,
    cdb,
    data,
    said: lies === null ? data.length : lies[0],
    comes: lies === null ? data.length : Math.min(data.length, lies[1]),
  }));

function newHosts(): { unit: LogicalUnit; device: MemoryDevice; hosts: Nexus[] } {
  const device = new MemoryDevice(BLOCKS * 512);
  device.bytes.fill(0xa5);
  const unit = new LogicalUnit({ identity: IDENTITY, abortTasks: () => undefined });
  const hosts = [1, 2].map((id) => ({
    device,
    isReadOnly: false,
    initiatorPort: `iqn.2020-01.com.example:host${String(id)},i,0x800000000001`,
    targetPort: 'iqn.2020-01.com.example:disk,t,0x0001',
    relativePort: 1,
  }));
  for (const nexus of hosts) unit.join(nexus);
  return { unit, device, hosts };
}

/** Sends it as a transport would, and checks the bounds of what comes. */
async function send(unit: LogicalUnit, nexus: Nexus, { lun, cdb, data, said, comes }: Sent): Promise<ScsiResult> {
  const prepared = unit.prepare(nexus, lun, Buffer.from(cdb), said);
  if (!('run' in prepared)) return prepared;
  const { dataOutBytes, dataInBytes } = prepared;
  expect([dataOutBytes >= 0, dataInBytes >= 0, dataOutBytes === 0 || dataInBytes === 0]).toEqual([true, true, true]);
  const given = Buffer.from(data.subarray(0, Math.min(comes, said, dataOutBytes)));
  const before = Buffer.from(given);
  const dataIn = Buffer.alloc(Math.min(dataInBytes, TAKEN_MAX));
  const result = await prepared.run(given, dataIn, new AbortController().signal);
  expect(given.equals(before), 'what came is not changed').toBe(true);
  expect(result.dataInBytes).toBeLessThanOrEqual(dataInBytes);
  return result;
}

const stateOf = async (unit: LogicalUnit, nexus: Nexus): Promise<string> => {
  const cdbs = ['5e00000000000000ffff', '5e01000000000000ffff', '5e03000000000000ffff', '1a083fffff'];
  const told: string[] = [];
  for (const text of cdbs) {
    const cdb = Buffer.alloc(16);
    cdb.write(text, 'hex');
    // Unit attentions first.
    for (let i = 0; i < 10; i++) {
      const command = unit.prepare(nexus, LUN_0, cdb);
      if (!('run' in command)) continue;
      const dataIn = Buffer.alloc(command.dataInBytes);
      await command.run(Buffer.alloc(0), dataIn, new AbortController().signal);
      told.push(dataIn.toString('hex'));
      break;
    }
  }
  return told.join();
};

describe('a logical unit that is spoken to badly', () => {
  it('answers within its bounds, and changes nothing by what it refuses', async () => {
    const statuses = new Map<number, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(sent, { minLength: 1, maxLength: 25 }), async (all) => {
        const { unit, device, hosts } = newHosts();
        for (const one of all) {
          const [first, second] = hosts as [Nexus, Nexus];
          const nexus = one.host === 0 ? first : second;
          const state = [await stateOf(unit, first), await stateOf(unit, second)];
          const before = Buffer.from(device.bytes);
          const result = await send(unit, nexus, one);
          statuses.set(result.status, (statuses.get(result.status) ?? 0) + 1);
          expect(KNOWN_STATUS).toContain(result.status);
          expect(result.sense !== undefined).toBe(result.status === STATUS.checkCondition);
          const isInternal =
            result.sense !== undefined && (result.sense.readUInt8(result.sense[0] === 0x72 ? 1 : 2) & 0x0f) === 4;
          expect(isInternal, `${one.cdb.toString('hex')}: no failure of our own`).toBe(false);
          if (result.status === STATUS.good) continue;
          expect(result.dataInBytes).toBe(0);
          expect(device.bytes.equals(before), one.cdb.toString('hex')).toBe(true);
          expect([await stateOf(unit, first), await stateOf(unit, second)]).toEqual(state);
        }
      }),
      { seed, numRuns: 2000 },
    );
    // It is no test of refusals alone.
    expect(statuses.get(STATUS.good)).toBeGreaterThan(1000);
    expect(statuses.get(STATUS.checkCondition)).toBeGreaterThan(1000);
    expect(statuses.get(STATUS.reservationConflict)).toBeGreaterThan(50);
  });
});
