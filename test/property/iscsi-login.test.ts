/**
 * Any bytes at all, before anybody is logged in and in text requests: they are answered or refused, within bounds, and nobody gets in
 * without a secret. SGW_SEED=N replays a run.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TextExchange, type TextStep } from '../../src/core/iscsi/discovery.ts';
import { FramingError, PduReader } from '../../src/core/iscsi/pdu.ts';
import type { ChapRules } from '../../src/core/iscsi/targets.ts';
import { encodePairs, TextAssembler, TextError } from '../../src/core/iscsi/text.ts';
import { ByteQueue } from '../../src/core/sockets/index.ts';
import { loginHeader, readResponse, text, textHeader } from '../unit/iscsi/login-builder.ts';
import { INITIATOR, LoginScene, MemoryTargets, TARGET } from '../unit/iscsi/login-scene.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261129);
const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));

const KEYS = [
  'InitiatorName',
  'TargetName',
  'SessionType',
  'InitiatorAlias',
  'AuthMethod',
  'CHAP_A',
  'CHAP_N',
  'CHAP_R',
  'CHAP_I',
  'CHAP_C',
  'HeaderDigest',
  'MaxRecvDataSegmentLength',
  'MaxBurstLength',
  'FirstBurstLength',
  'InitialR2T',
  'MaxConnections',
  'ErrorRecoveryLevel',
  'TaskReporting',
  'IFMarkInt',
  'SendTargets',
  'TargetAddress',
  'X#NodeArchitecture',
];
const VALUES = [
  INITIATOR,
  TARGET,
  'Normal',
  'Discovery',
  'None',
  'CHAP,None',
  'CHAP',
  '5',
  '5,6,7,8',
  '0x00',
  'host',
  'CRC32C,None',
  '8192',
  '16777216',
  'Yes',
  'All',
  'Reject',
  '',
];
const key = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...KEYS) },
  { weight: 1, arbitrary: fc.string({ maxLength: 70 }) },
);
const value = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...VALUES) },
  { weight: 1, arbitrary: fc.string({ maxLength: 300 }) },
);
const pairs = fc
  .uniqueArray(fc.tuple(key, value), { maxLength: 6, selector: ([name]) => name })
  .map((list) => text(...list.map((pair) => pair.join('='))));
const names = fc.constant(text(`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`));
const begun = fc.tuple(names, pairs).map((parts) => Buffer.concat(parts));
/** 300 keys at most that are not understood, so that answers are continued. */
const strange = fc
  .integer({ min: 1, max: 300 })
  .map((count) => text(...Array.from({ length: count }, (_, i) => `X-${String(i).padStart(60, '0')}=`)));
const data = fc.oneof(noise, pairs, pairs, begun, begun, strange, fc.constant(Buffer.alloc(0)));
const flags = fc.oneof(fc.constantFrom(0x00, 0x04, 0x81, 0x83, 0x87, 0x40, 0x44), fc.nat({ max: 255 }));

interface Sent {
  readonly flags: number;
  readonly data: Buffer;
  readonly opcode: number;
  readonly tsih: number;
}

const request: fc.Arbitrary<Sent> = fc.record({
  flags,
  data,
  opcode: fc.oneof({ weight: 30, arbitrary: fc.constantFrom(0x43, 0x03) }, { weight: 1, arbitrary: fc.nat(255) }),
  tsih: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
});

/** How logins begin that get further. */
const first = fc.record({
  flags: fc.constantFrom(0x00, 0x04, 0x81),
  data: names,
  opcode: fc.constant(0x43),
  tsih: fc.constant(0),
});
const requests = fc.oneof(
  fc.array(request, { minLength: 1, maxLength: 8 }),
  fc.tuple(first, fc.array(request, { maxLength: 8 })).map(([one, rest]) => [one, ...rest]),
);

const CHAP: ChapRules = {
  initiators: [{ user: 'host', secret: Buffer.from('secret of the host') }],
  target: undefined,
};

/** Sends until the login ends. How it ended, and after how many requests. */
async function login(scene: LoginScene, all: readonly Sent[]): Promise<string> {
  for (const sent of all) {
    const step = await scene.login.handle(loginHeader(sent), sent.data);
    if (step.response !== undefined) {
      const response = readResponse(step.response);
      expect(response.data.length).toBeLessThanOrEqual(8192);
      expect(response.transit && response.isContinued).toBe(false);
      expect(response.status !== 0).toBe(step.kind === 'refused');
    }
    if (step.kind !== 'more') return step.kind;
  }
  return 'more';
}

describe('a login that is spoken to badly', () => {
  it('answers each request or ends, and has a session only when it is done', async () => {
    const ends = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(requests, async (sent) => {
        const scene = new LoginScene();
        const end = await login(scene, sent);
        expect(scene.sessions.admitted).toHaveLength(end === 'done' ? 1 : 0);
        ends.set(end, (ends.get(end) ?? 0) + 1);
      }),
      { seed, numRuns: 3000 },
    );
    for (const end of ['more', 'done', 'refused']) expect(ends.get(end), end).toBeGreaterThan(50);
  });

  it('lets nobody in without the secret', async () => {
    let challenged = 0;
    await fc.assert(
      fc.asyncProperty(requests, fc.boolean(), async (rest, isProper) => {
        const scene = new LoginScene({ chap: CHAP });
        const proper = [
          text(`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`, 'AuthMethod=CHAP'),
          text('CHAP_A=5'),
        ].map((bytes) => ({ flags: 0, data: bytes, opcode: 0x43, tsih: 0 }));
        if (isProper) challenged += 1;
        expect(await login(scene, isProper ? [...proper, ...rest] : rest)).not.toBe('done');
        expect(scene.sessions.admitted).toEqual([]);
      }),
      { seed, numRuns: 2000 },
    );
    expect(challenged).toBeGreaterThan(100);
  });

  it('ends after 64 requests, whatever they are', async () => {
    const endless: Sent = { flags: 0x40, data: Buffer.alloc(0), opcode: 0x43, tsih: 0 };
    expect(
      await login(
        new LoginScene(),
        Array.from({ length: 64 }, () => endless),
      ),
    ).toBe('more');
    expect(
      await login(
        new LoginScene(),
        Array.from({ length: 65 }, () => endless),
      ),
    ).toBe('refused');
  });
});

describe('texts', () => {
  it('of any bytes are pairs, or a TextError', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.oneof(noise, pairs, strange), fc.boolean()), { maxLength: 10 }), (pieces) => {
        const assembler = new TextAssembler();
        try {
          for (const [bytes, isContinued] of pieces) assembler.add(bytes, isContinued);
        } catch (error) {
          expect(error).toBeInstanceOf(TextError);
        }
      }),
      { seed, numRuns: 3000 },
    );
  });

  it('are read as they were written', () => {
    const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9.\-+@_#]{0,62}$/);
    const words = fc
      .string({ unit: 'grapheme', maxLength: 255 })
      .filter(
        (word) => !word.includes('\0') && Buffer.byteLength(word) <= 255 && word === Buffer.from(word).toString(),
      );
    fc.assert(
      fc.property(fc.uniqueArray(fc.record({ key: name, value: words }), { selector: (pair) => pair.key }), (list) => {
        expect(new TextAssembler().add(encodePairs(list), false)).toEqual(list);
      }),
      { seed, numRuns: 500 },
    );
  });

  it('of the full feature phase are answered within what the initiator takes, or rejected', async () => {
    const sent = fc.record({ flags, data, isAnswer: fc.boolean(), itt: fc.constantFrom(1, 2) });
    const ends = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(sent, { maxLength: 12 }),
        fc.constantFrom(undefined, TARGET),
        fc.integer({ min: 1, max: 600 }),
        async (requests, target, maxSendLength) => {
          const exchange = new TextExchange({
            directory: new MemoryTargets(),
            initiator: INITIATOR,
            target,
            portals: () => [{ address: '192.0.2.1:3260', groupTag: 1 }],
            maxSendLength: () => maxSendLength,
          });
          let last: TextStep | undefined;
          for (const { isAnswer, data: bytes, ...fields } of requests) {
            const ttt = isAnswer && last?.kind === 'response' ? last.targetTransferTag : 0xffff_ffff;
            last = await exchange.handle(textHeader({ ...fields, ttt }), bytes);
            ends.set(last.kind, (ends.get(last.kind) ?? 0) + 1);
            if (last.kind === 'reject') continue;
            expect(last.data.length).toBeLessThanOrEqual(maxSendLength);
            expect(last.targetTransferTag === 0xffff_ffff).toBe(last.flags === 0x80);
          }
        },
      ),
      { seed, numRuns: 1500 },
    );
    for (const end of ['response', 'reject']) expect(ends.get(end), end).toBeGreaterThan(500);
  });
});

/** Takes PDUs as a connection does. */
class Taken {
  readonly #reader: PduReader;
  #open: Buffer | undefined;

  constructor(reader: PduReader) {
    this.#reader = reader;
  }

  /** How many were whole or damaged. */
  takeAll(): number {
    for (let count = 0; ; count++) {
      if (this.#open === undefined) {
        if (this.#reader.header() === undefined) return count;
        expect(this.#reader.dataLength).toBeLessThanOrEqual(512);
        this.#open = Buffer.alloc(this.#reader.dataLength);
      }
      if (this.#reader.data(this.#open) === 'more') return count;
      this.#open = undefined;
    }
  }
}

describe('a reader of PDUs', () => {
  it('takes any bytes in any pieces, or ends with a FramingError, and holds no more than it may', () => {
    const framed = fc
      .record({ ahs: fc.constantFrom(0, 0, 1, 64, 65), length: fc.nat(540), isShort: fc.boolean(), digests: fc.nat(8) })
      .map(({ ahs, length, isShort, digests }) => {
        const header = Buffer.alloc(48);
        header[4] = ahs;
        header.writeUIntBE(length, 5, 3);
        return Buffer.concat([header, Buffer.alloc(ahs * 4 + (isShort ? length >> 1 : (length + 3) & ~3) + digests)]);
      });
    const ends = { whole: 0, error: 0 };
    fc.assert(
      fc.property(
        fc.array(fc.oneof(noise, framed, framed, framed), { maxLength: 10 }),
        fc.record({ header: fc.boolean(), data: fc.boolean() }),
        (pieces, digests) => {
          const queue = new ByteQueue();
          const reader = new PduReader(queue, 512);
          reader.setDigests(digests);
          const taken = new Taken(reader);
          try {
            for (const piece of pieces) {
              queue.push(piece);
              ends.whole += taken.takeAll();
              expect(queue.length).toBeLessThan(48 + 64 * 4 + 8);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(FramingError);
            ends.error += 1;
          }
        },
      ),
      { seed, numRuns: 2000 },
    );
    expect(ends.whole).toBeGreaterThan(300);
    expect(ends.error).toBeGreaterThan(100);
  });
});
