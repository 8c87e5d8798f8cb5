import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '../../../src/core/replication/messages.ts';
import { encodeFrame, FRAME_BYTES_MAX, takeFrame } from '../../../src/core/replication/peer/frames.ts';
import { ByteQueue } from '../../../src/core/sockets/index.ts';
import type { VolumeId } from '../../../src/core/kit/index.ts';

const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const reign = { volumeId, holder: 'sgw-12345678', epoch: 7 };
const position = { incarnation: '00112233445566ff', firstSequence: 1, received: 9, synced: 8, isWhole: true };
const incarnation = {
  incarnation: '00112233445566ff',
  epoch: 7,
  baseSeq: 3,
  uploadedSequence: 2,
  firstSequence: 3,
};

const MESSAGES: readonly PeerMessage[] = [
  { kind: 'beat', groupVersion: 4 },
  { kind: 'renew', stamp: 12.5, reigns: [reign] },
  { kind: 'promise', stamp: 12.5, reigns: [] },
  { kind: 'superseded', newest: reign },
  { kind: 'open', reign, lastSequence: 9, incarnations: [incarnation], uploadedSequence: 2, capacityBytes: 1 << 30 },
  { kind: 'position', volumeId, position },
  { kind: 'position', volumeId, position: { ...position, incarnation: null } },
  { kind: 'from', volumeId, from: 3, anew: true, incarnation },
  { kind: 'sync', volumeId, sequence: 9 },
  { kind: 'got', volumeId, received: 9, synced: 8 },
  { kind: 'whole', volumeId, sequence: 5 },
  { kind: 'uploaded', volumeId, sequence: 5 },
  { kind: 'ask', volumeId, epoch: 7 },
  { kind: 'tell', volumeId, epoch: 7, position, isHolder: false },
  { kind: 'release', reign, last: 10 },
  { kind: 'please', volumeId, to: 'sgw-12345678' },
  { kind: 'refused', volumeId, code: 'no', message: 'why' },
  { kind: 'took', reign },
];

const record = fc.record({
  sequence: fc.maxSafeNat(),
  incarnation: fc.stringMatching(/^[0-9a-f]{16}$/),
  epoch: fc.maxSafeNat(),
  appendedMs: fc.maxSafeNat(),
  flushedSequence: fc.maxSafeNat(),
  uploadedSequence: fc.maxSafeNat(),
  extentCount: fc.nat(),
  body: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  pages: fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)),
});

/** What comes out of a queue that gets `bytes` in pieces. */
function received(bytes: Buffer, pieceBytes: number): (PeerMessage | 'bad')[] {
  const queue = new ByteQueue();
  const messages: (PeerMessage | 'bad')[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    queue.push(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    for (let message = takeFrame(queue); message !== undefined; message = takeFrame(queue)) {
      messages.push(message);
      if (message === 'bad') return messages;
    }
  }
  return messages;
}

describe('frames between members', () => {
  it.each(MESSAGES.map((message) => [message.kind, message] as const))('%s goes over whole', (_kind, message) => {
    const bytes = Buffer.concat(encodeFrame(message));
    for (const pieceBytes of [1, 3, bytes.length]) expect(received(bytes, pieceBytes)).toEqual([message]);
  });

  it('records go over whole, in any pieces, between other messages', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 5 }), fc.integer({ min: 1, max: 400 }), (records, pieceBytes) => {
        const messages: PeerMessage[] = [
          { kind: 'beat', groupVersion: 1 },
          { kind: 'records', volumeId, records },
          { kind: 'sync', volumeId, sequence: 1 },
        ];
        const bytes = Buffer.concat(messages.flatMap((message) => encodeFrame(message)));
        expect(received(bytes, pieceBytes)).toEqual(messages);
      }),
    );
  });

  it('a field that is missing or of another type makes it no message', () => {
    for (const message of MESSAGES) {
      // Has a form of its own.
      if (message.kind === 'got') continue;
      for (const name of Object.keys(message)) {
        for (const wrong of [undefined, -1, {}, 'x'.repeat(2000), 1.5]) {
          const json = Buffer.from(JSON.stringify({ ...message, [name]: wrong }));
          const head = Buffer.from([0, 0, 0, 0, 1]);
          head.writeUInt32LE(json.length + 1, 0);
          const [got] = received(Buffer.concat([head, json]), 4096);
          const isGoodAnyway = name === 'stamp' && wrong === 1.5;
          expect(got === 'bad', `${message.kind}.${name} = ${JSON.stringify([wrong])}`).toBe(!isGoodAnyway);
        }
      }
    }
  });

  it('bytes that were altered give a message or end the link, and nothing else', () => {
    const whole = Buffer.concat(
      encodeFrame({
        kind: 'records',
        volumeId,
        records: [
          {
            ...{ sequence: 1, incarnation: '00112233445566ff', epoch: 1, appendedMs: 5, flushedSequence: 0 },
            ...{ uploadedSequence: 0, extentCount: 1, body: Buffer.alloc(20, 1), pages: Buffer.alloc(64, 2) },
          },
        ],
      }),
    );
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(whole.length), (at, flip, cut) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        for (const part of [bytes, bytes.subarray(0, cut)])
          for (const message of received(part, 50))
            if (message !== 'bad' && message.kind === 'records')
              for (const one of message.records) expect(one.body.length + one.pages.length).toBeLessThan(whole.length);
      }),
    );
  });

  it('a position may say which asking it answers, by a number', () => {
    for (const [stamp, isGood] of [
      [3, true],
      ['3', false],
      [-1, false],
    ] as const) {
      const message = { kind: 'position', volumeId, position, stamp } as PeerMessage;
      expect(received(Buffer.concat(encodeFrame(message)), 99)).toEqual([isGood ? message : 'bad']);
    }
  });

  it('what a replica has got is exact: ids, numbers and length', () => {
    const [whole = Buffer.alloc(0)] = encodeFrame({ kind: 'got', volumeId, received: 2 ** 40 + 1, synced: 2 ** 33 });
    // Put together here byte by byte, from docs/formats/peer-frames.md.
    const id = Buffer.from(volumeId);
    const numbers = Buffer.alloc(16);
    numbers.writeBigUInt64LE(2n ** 40n + 1n, 0);
    numbers.writeBigUInt64LE(2n ** 33n, 8);
    const contents = Buffer.concat([Buffer.from([3, id.length]), id, numbers]);
    const framed = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length, 0, 0, 0]), bytes]);
    expect(whole).toEqual(framed(contents));
    expect(received(framed(contents.subarray(0, -1)), 99)).toEqual(['bad']);
    expect(received(framed(Buffer.concat([contents, Buffer.alloc(1)])), 99)).toEqual(['bad']);
    for (const [at, value] of [
      [1, 0],
      [1, 20],
      [2, 0x78],
      [contents.length - 1, 0x20],
    ] as const) {
      const altered = Buffer.from(contents);
      altered[at] = value;
      expect(received(framed(altered), 99), `byte ${String(at)}`).toEqual(['bad']);
    }
  });

  it('a frame that is too long is refused by its length alone', () => {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(FRAME_BYTES_MAX + 1, 0);
    expect(received(head, 5)).toEqual(['bad']);
    expect(received(Buffer.from([0, 0, 0, 0]), 4)).toEqual(['bad']);
    expect(received(Buffer.from([1, 0, 0, 0, 9]), 5)).toEqual(['bad']);
  });
});
