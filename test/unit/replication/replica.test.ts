/** A replica's log gets what was sent, whatever becomes of the memory that it came in. */
import { describe, expect, it, vi } from 'vitest';
import { SgwError, type VolumeId } from '../../../src/core/kit/index.ts';
import type { ReplicaLogs } from '../../../src/core/replication/contract.ts';
import type { PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
import { Replica } from '../../../src/core/replication/replica.ts';
import type { ReplicaLog, SentRecord } from '../../../src/core/writelog/index.ts';

const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A log that keeps bytes of records, and opens when it is told to. */
function scene(): {
  readonly replica: Replica;
  readonly link: PeerLink;
  readonly sent: PeerMessage[];
  readonly kept: string[];
  readonly open: () => void;
} {
  const kept: string[] = [];
  const opened = Promise.withResolvers<ReplicaLog>();
  const log = {
    get position() {
      return { incarnation: null, firstSequence: 1, received: kept.length, synced: 0, isWhole: false };
    },
    incarnations: [],
    hasRoom: () => true,
    sync: async () => Promise.resolve(),
    append: ({ body, pages }: SentRecord) => kept.push(`${body.toString()} ${pages.toString()}`),
  } as unknown as ReplicaLog;
  const sent: PeerMessage[] = [];
  const link = { gatewayId: 'sgw-a', send: (message: PeerMessage) => sent.push(message) } as unknown as PeerLink;
  const replica = new Replica(
    volumeId,
    {
      logs: { open: async () => await opened.promise } as unknown as ReplicaLogs,
      keepEpoch: async () => Promise.resolve(),
      keepExport: async () => Promise.resolve(),
    },
    silent,
  );
  const open = (): void => {
    opened.resolve(log);
  };
  return { replica, link, sent, kept, open };
}

const reign = { volumeId, holder: 'sgw-a', epoch: 1 };
const OPEN: Extract<PeerMessage, { kind: 'open' }> = {
  kind: 'open',
  reign,
  ...{ lastSequence: 0, incarnations: [], uploadedSequence: 0, capacityBytes: 1 << 20 },
};

/** A message in memory that is overwritten when it was taken. */
function take(replica: Replica, link: PeerLink, sequence: number): void {
  const [body, pages] = [Buffer.from(`body ${String(sequence)}`), Buffer.from(`pages ${String(sequence)}`)];
  const record = {
    ...{ sequence, incarnation: '00112233445566ff', epoch: 1, appendedMs: 5, flushedSequence: 0 },
    ...{ uploadedSequence: 0, extentCount: 1, body, pages },
  };
  replica.take(link, { kind: 'records', volumeId, records: [record] });
  body.fill(0);
  pages.fill(0);
}

describe('a replica', () => {
  it('keeps what comes before its log is open, though the memory is used again', async () => {
    const { replica, link, sent, kept, open } = scene();
    replica.take(link, OPEN);
    take(replica, link, 1);
    take(replica, link, 2);
    open();
    await vi.waitFor(() => {
      expect(sent.at(-1)).toEqual({ kind: 'got', volumeId, received: 2, synced: 0 });
    });
    expect(kept).toEqual(['body 1 pages 1', 'body 2 pages 2']);
  });

  it('tells nothing of its log when it was let go before that was open, and refuses who sends all the same', async () => {
    const { replica, link, sent, open } = scene();
    replica.take(link, OPEN);
    replica.letGo();
    open();
    await replica.sync();
    expect(sent.map(({ kind }) => kind)).toEqual(['refused']);
    const incarnation = {
      incarnation: '00112233445566ff',
      epoch: 1,
      baseSeq: 0,
      uploadedSequence: 0,
      firstSequence: 1,
    };
    replica.take(link, { kind: 'from', volumeId, from: 1, anew: false, incarnation });
    take(replica, link, 1);
    expect(sent.slice(1)).toMatchObject([{ kind: 'refused', code: 'not-a-replica' }]);
  });

  it('tells with its position which asking it has answered last, where that was said', async () => {
    const { replica, link, sent, open } = scene();
    open();
    for (const message of [OPEN, { ...OPEN, stamp: 7 }]) {
      replica.take(link, message);
      await replica.sync();
    }
    replica.take(link, { kind: 'whole', volumeId, sequence: 9 });
    await replica.sync();
    expect(sent).toMatchObject([{ kind: 'position' }, { kind: 'position', stamp: 7 }, { kind: 'position', stamp: 7 }]);
    expect(sent[0]).not.toHaveProperty('stamp');
  });

  it('tells once of all that came in one piece, and of what comes later anew', async () => {
    const { replica, link, sent, open } = scene();
    replica.take(link, OPEN);
    open();
    await vi.waitFor(() => {
      expect(sent.map(({ kind }) => kind)).toEqual(['position']);
    });
    await new Promise((resolve) => setImmediate(resolve));
    for (const sequence of [1, 2, 3]) take(replica, link, sequence);
    await Promise.resolve();
    take(replica, link, 4);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent.slice(1)).toEqual([
      { kind: 'got', volumeId, received: 3, synced: 0 },
      { kind: 'got', volumeId, received: 4, synced: 0 },
    ]);
  });

  it('whose log could not be opened for its holder opens it to tell, as a candidate, where it ends', async () => {
    let tries = 0;
    const position = { incarnation: null, firstSequence: 1, received: 4, synced: 4, isWhole: true };
    const log = {
      position,
      incarnations: [],
      setAside: null,
      sync: async () => Promise.resolve(),
    } as unknown as ReplicaLog;
    const open = async (): Promise<ReplicaLog> => {
      tries += 1;
      if (tries === 1) throw new SgwError('exhausted', 'disk-full', 'the disk is full');
      return Promise.resolve(log);
    };
    const logs = { open } as unknown as ReplicaLogs;
    const replica = new Replica(
      volumeId,
      { logs, keepEpoch: async () => Promise.resolve(), keepExport: async () => Promise.resolve() },
      silent,
    );
    const sent: PeerMessage[] = [];
    const link = { gatewayId: 'sgw-a', send: (message: PeerMessage) => sent.push(message) } as unknown as PeerLink;
    replica.take(link, OPEN);
    await vi.waitFor(() => {
      expect(sent).toMatchObject([{ kind: 'refused', code: 'disk-full' }]);
    });
    await replica.sync();
    expect(replica.position).toEqual(position);
  });
});
