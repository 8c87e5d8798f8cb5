import { connect } from 'node:net';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { SgwError } from '../../../src/core/kit/index.ts';
import { systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import { fingerprintOf, PrivateKey, type GroupMember } from '../../../src/core/protocol/index.ts';
import type { PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
import { memberCertificate } from '../../../src/core/replication/peer/certificate.ts';
import { TlsPeerNetwork } from '../../../src/core/replication/peer/network.ts';
import type { SentRecord } from '../../../src/core/writelog/index.ts';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const volumeId = 'vol-0123456789abcdef0' as VolumeId;

interface Side {
  readonly gatewayId: string;
  readonly key: PrivateKey;
  readonly network: TlsPeerNetwork;
  readonly messages: PeerMessage[];
  readonly links: PeerLink[];
  readonly ends: SgwError[];
  readonly address: string;
  readonly member: GroupMember;
}

/** Buffers of a message are good only until its handler returns. */
const kept = (message: PeerMessage): PeerMessage =>
  message.kind === 'records' ? { ...message, records: message.records.map((record) => copied(record)) } : message;

const copied = (record: SentRecord): SentRecord => ({
  ...record,
  body: Buffer.from(record.body),
  pages: Buffer.from(record.pages),
});

const running: Side[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map(async ({ network }) => network.stop()));
});

async function side(
  gatewayId: string,
  options: { key?: PrivateKey; silenceMs?: number; listen?: string } = {},
): Promise<Side> {
  const key = options.key ?? PrivateKey.make(systemRandom);
  const network = new TlsPeerNetwork({
    gatewayId,
    key,
    listen: options.listen ?? '127.0.0.1:0',
    silenceMs: options.silenceMs ?? 10_000,
    clock: systemClock,
    random: systemRandom,
    log: silent,
  });
  const messages: PeerMessage[] = [];
  const links: PeerLink[] = [];
  const ends: SgwError[] = [];
  const { address } = await network.start({
    linked: (link) => links.push(link),
    message: (_link, message) => messages.push(kept(message)),
    unlinked: (_link, reason) => ends.push(reason),
  });
  const member = {
    gatewayId,
    name: gatewayId,
    keyFingerprint: fingerprintOf(key.publicKey),
    address: { peer: address, nbd: [] },
  };
  const made = { gatewayId, key, network, messages, links, ends, address, member };
  running.push(made);
  return made;
}

const until = async (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 8000, interval: 10 });

describe('connections between members', () => {
  it('a pair has one connection, over which messages go both ways in order', async () => {
    const [a, b] = [await side('sgw-a'), await side('sgw-b')];
    for (const one of [a, b]) one.network.setMembers([a.member, b.member]);
    await until(() => {
      expect([a.links.length, b.links.length]).toEqual([1, 1]);
    });
    const record = {
      ...{ sequence: 1, incarnation: '00112233445566ff', epoch: 1, appendedMs: 5, flushedSequence: 0 },
      ...{ uploadedSequence: 0, extentCount: 1, body: Buffer.alloc(20, 1), pages: Buffer.alloc(300_000, 2) },
    };
    const sent: PeerMessage[] = [];
    for (let i = 0; i < 50; i++)
      sent.push(
        { kind: 'records', volumeId, records: [{ ...record, sequence: i }] },
        { kind: 'sync', volumeId, sequence: i },
      );
    for (const message of sent) a.links[0]?.send(message);
    b.links[0]?.send({ kind: 'beat', groupVersion: 3 });
    await a.links[0]?.drained(1);
    await until(() => {
      expect(b.messages.length).toBe(sent.length);
    });
    expect(b.messages).toEqual(sent);
    expect(a.messages).toEqual([{ kind: 'beat', groupVersion: 3 }]);
    expect(a.links[0]?.gatewayId).toBe('sgw-b');
  });

  it('records of any size come as they were sent, though memory is used again', async () => {
    const [a, b] = [await side('sgw-a'), await side('sgw-b')];
    for (const one of [a, b]) one.network.setMembers([a.member, b.member]);
    await until(() => {
      expect([a.links.length, b.links.length]).toEqual([1, 1]);
    });
    const sent: PeerMessage[] = [];
    for (let turn = 1; turn <= 40; turn++) {
      for (const bytes of [100, 9000, 100_000, 1_500_000].slice(0, 1 + (turn % 4))) {
        const record = {
          ...{ sequence: turn, incarnation: '00112233445566ff', epoch: 1, appendedMs: 5, flushedSequence: 0 },
          ...{
            uploadedSequence: 0,
            extentCount: 1,
            body: Buffer.alloc(20, bytes % 251),
            pages: Buffer.alloc(bytes, turn),
          },
        };
        const message: PeerMessage = { kind: 'records', volumeId, records: [record] };
        sent.push(message);
        a.links[0]?.send(message);
      }
      // Written by then, while the socket is busy with what came before it.
      for (let hop = 0; hop < 3; hop++) await Promise.resolve();
      if (turn % 5 === 0) await nextTurn();
    }
    await until(() => {
      expect(b.messages.length).toBe(sent.length);
    });
    // Not by toEqual, which would print all bytes.
    const wrong = sent.filter((message, at) => !isDeepStrictEqual(b.messages[at], message));
    expect(wrong.length).toBe(0);
  });

  it('who has another key than the group says is let in at neither side', async () => {
    const [a, b] = [await side('sgw-a'), await side('sgw-b')];
    const other = fingerprintOf(PrivateKey.make(systemRandom).publicKey);
    a.network.setMembers([a.member, { ...b.member, keyFingerprint: other }]);
    b.network.setMembers([b.member, { ...a.member, keyFingerprint: other }]);
    await delay(600);
    expect([a.links.length, b.links.length]).toEqual([0, 0]);
  });

  it('a stranger gets no byte, whether with a certificate of its own, without one, or without TLS', async () => {
    const a = await side('sgw-a');
    const b = await side('sgw-b');
    a.network.setMembers([a.member, b.member]);
    const stranger = PrivateKey.make(systemRandom);
    // It calls itself what a member is called.
    const cert = await memberCertificate(stranger, 'sgw-b');
    const [host = '', port = ''] = a.address.split(':');
    const place = { host, port: Number(port) };
    for (const credentials of [{ key: stranger.pem(), cert }, {}]) {
      const socket = connectTls({ ...place, rejectUnauthorized: false, ALPNProtocols: ['sgw-peer/1'], ...credentials });
      const bytes: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => bytes.push(chunk));
      socket.on('error', () => undefined);
      await new Promise<void>((resolve) =>
        socket.once('close', () => {
          resolve();
        }),
      );
      expect(Buffer.concat(bytes).length).toBe(0);
    }
    const plain = connect(place);
    plain.on('error', () => undefined);
    plain.write('hello\n');
    const got: Buffer[] = [];
    plain.on('data', (chunk: Buffer) => got.push(chunk));
    await new Promise<void>((resolve) =>
      plain.once('close', () => {
        resolve();
      }),
    );
    // An alert of TLS at most.
    expect(Buffer.concat(got).length).toBeLessThan(16);
    expect(a.links.length).toBe(0);
  });

  it('a member that is started anew takes the place of the connection there was', async () => {
    const [a, b] = [await side('sgw-a'), await side('sgw-b')];
    for (const one of [a, b]) one.network.setMembers([a.member, b.member]);
    await until(() => {
      expect(a.links.length).toBe(1);
    });
    const again = await side('sgw-b', { key: b.key });
    again.network.setMembers([a.member, again.member]);
    a.network.setMembers([a.member, again.member]);
    await b.network.stop();
    await until(() => {
      expect(a.links.length).toBe(2);
      expect(again.links.length).toBeGreaterThan(0);
    });
    a.links.at(-1)?.send({ kind: 'beat', groupVersion: 9 });
    await until(() => {
      expect(again.messages).toEqual([{ kind: 'beat', groupVersion: 9 }]);
    });
    expect(a.ends.length).toBeGreaterThan(0);
  });

  it('one that is silent has ended, also while much is sent to it', async () => {
    const [a, b] = [await side('sgw-a', { silenceMs: 400 }), await side('sgw-b')];
    for (const one of [a, b]) one.network.setMembers([a.member, b.member]);
    await until(() => {
      expect(a.links.length).toBe(1);
    });
    const beats = setInterval(() => {
      a.links[0]?.send({ kind: 'beat', groupVersion: 1 });
    }, 20);
    await until(() => {
      expect(a.ends[0]?.message).toContain('silent');
    });
    clearInterval(beats);
  });

  it('a connection that ended is made again; one that is silent has ended', async () => {
    const [a, b] = [await side('sgw-a', { silenceMs: 300 }), await side('sgw-b')];
    for (const one of [a, b]) one.network.setMembers([a.member, b.member]);
    await until(() => {
      expect(a.links.length).toBeGreaterThan(2);
    });
    expect(a.ends[0]?.code).toBe('member-lost');
    expect(a.ends[0]?.message).toContain('silent');
  });

  it('the one with the higher id dials where the other one does not', async () => {
    const [a, b] = [await side('sgw-a'), await side('sgw-b')];
    a.network.setMembers([a.member, { ...b.member, address: null }]);
    b.network.setMembers([a.member, b.member]);
    await until(() => {
      expect([a.links.length, b.links.length]).toEqual([1, 1]);
    });
  });

  it('who left the group is let go of, and not let in again', async () => {
    const [a, b] = [await side('sgw-a'), await side('sgw-b')];
    for (const one of [a, b]) one.network.setMembers([a.member, b.member]);
    await until(() => {
      expect(b.links.length).toBe(1);
    });
    a.network.setMembers([a.member]);
    await until(() => {
      expect(b.ends.length).toBeGreaterThan(0);
    });
    const before = a.links.length;
    await delay(500);
    expect(a.links.length).toBe(before);
  });

  it('an address that is in use is told with what chooses another one', async () => {
    const a = await side('sgw-a');
    await expect(side('sgw-b', { listen: a.address })).rejects.toMatchObject({
      code: 'address-in-use',
      hint: expect.stringContaining('--peer-listen') as string,
    });
  });
});
