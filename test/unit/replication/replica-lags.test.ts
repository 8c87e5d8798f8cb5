/** A held volume and one replica, over a log, a link and a clock that the test moves. */
import { describe, expect, it } from 'vitest';
import { systemClock, type VolumeId } from '../../../src/core/kit/index.ts';
import type { GroupVolume } from '../../../src/core/protocol/index.ts';
import { HeldVolume } from '../../../src/core/replication/held.ts';
import type { PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
import type { AckClass, WriteLog } from '../../../src/core/writelog/index.ts';
import { SILENT } from '../../support/control/network.ts';

const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const INCARNATION = { incarnation: '00112233445566ff', epoch: 2, baseSeq: 0, uploadedSequence: 0, firstSequence: 1 };
const TIMES = { termMs: 4000, renewMs: 1000, marginMs: 500 };
const TICK_MS = 250;

class Scene {
  nowMs = 0;
  last = 0;
  received = 0;
  /** Whether the replica's disk answers. */
  syncs = true;
  set: readonly string[];
  readonly changes: (readonly string[])[] = [];
  readonly held: HeldVolume;
  readonly #link: PeerLink;
  #asked = 0;

  constructor(ack: 'peer' | 'log', set: readonly string[]) {
    this.set = set;
    const volume: GroupVolume = {
      ...{ volumeId, exportName: 'v', preferredHolder: null, allowLoss: false },
      ...{ ack, replicas: 1, whenDegraded: 'continue' },
    };
    this.held = new HeldVolume(
      {
        ...{ self: 'a', volume: () => volume, wanted: () => ['b'], nameOf: (id) => id, times: TIMES },
        ...{ now: () => this.nowMs, clock: systemClock, log: SILENT },
        ...{ exportedAs: () => undefined, onReady: () => undefined, onFenced: () => undefined },
      },
      ack satisfies AckClass,
    );
    this.#link = {
      gatewayId: 'b',
      waitingBytes: 0,
      send: (message: PeerMessage) => {
        this.#hear(message);
      },
    } as unknown as PeerLink;
  }

  async begin(): Promise<void> {
    const usage = () => {
      const { last } = this;
      const of = { lastSequence: last, flushedSequence: last, uploadedSequence: 0, dirtyBytes: last * 8 };
      return { ...of, capacityBytes: 1e9 };
    };
    const log = {
      get usage() {
        return usage();
      },
      incarnations: [INCARNATION],
      incarnation: INCARNATION,
      failure: undefined,
      flush: async () => Promise.resolve(),
      sent: (from: number) =>
        from > this.last ? [] : [{ ...INCARNATION, sequence: from, body: Buffer.alloc(8), pages: Buffer.alloc(0) }],
    };
    this.held.begin(log as unknown as WriteLog);
    this.held.opened({
      epoch: 2,
      inSync: this.set,
      setInSync: async (set: readonly string[]) => {
        this.set = set;
        this.changes.push(set);
        return Promise.resolve();
      },
    });
    this.held.linked(this.#link);
    await this.tick();
  }

  #hear(message: PeerMessage): void {
    if (message.kind === 'open')
      queueMicrotask(() => {
        const { received } = this;
        const { incarnation } = INCARNATION;
        this.held.senderOf('b')?.position({ incarnation, firstSequence: 1, received, synced: received, isWhole: true });
      });
    else if (message.kind === 'sync') this.#asked = message.sequence;
  }

  /** The replica tells that it has all but the last so many records. */
  got(lacks = 0): void {
    this.received = Math.max(this.received, this.last - lacks);
    this.held.senderOf('b')?.got(this.received, this.syncs ? Math.min(this.#asked, this.received) : 0);
  }

  async tick(): Promise<void> {
    this.nowMs += TICK_MS;
    this.held.promised('b', 2, this.nowMs);
    this.held.tick(new Map([['b', this.#link]]));
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }
}

describe('with ack=log', () => {
  it('a replica that is always one record behind, since writes never cease, stays in the set', async () => {
    const scene = new Scene('log', ['a', 'b']);
    await scene.begin();
    for (let i = 0; i < 40; i++) {
      for (let write = 0; write < 10; write++) {
        scene.last += 1;
        scene.held.appended();
        scene.got(1);
      }
      await scene.tick();
      expect(scene.held.replicas()[0]?.lagMs).toBeLessThanOrEqual(TICK_MS);
    }
    expect(scene.changes).toEqual([]);
  });

  it('one that gets further, and is two seconds behind, leaves it', async () => {
    const scene = new Scene('log', ['a', 'b']);
    await scene.begin();
    for (let i = 0; i < 20; i++) {
      scene.last += 100;
      scene.held.appended();
      scene.got(i * 99);
      await scene.tick();
    }
    expect(scene.changes).toEqual([['a']]);
  });
});

describe('a replica whose disk does not answer', () => {
  it('is not waited for again before it has made durable what it was asked to', async () => {
    const scene = new Scene('peer', ['a', 'b']);
    await scene.begin();
    scene.syncs = false;
    scene.last = 10;
    scene.held.appended();
    scene.got();
    const flush = scene.held.flushable(10);
    for (let i = 0; i < 30 && scene.set.length === 2; i++) {
      scene.got();
      await scene.tick();
    }
    expect(scene.set).toEqual(['a']);
    await flush;
    for (let i = 0; i < 40; i++) {
      scene.last += 1;
      scene.held.appended();
      scene.got();
      await scene.tick();
      expect(scene.held.flushable(scene.last), String(i)).toBeUndefined();
    }
    scene.syncs = true;
    for (let i = 0; i < 10; i++) {
      scene.got();
      await scene.tick();
    }
    expect(scene.set).toEqual(['a', 'b']);
  });
});
