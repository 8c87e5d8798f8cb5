/** Planned take-overs that are asked for while one is under way. */
import { describe, expect, it, vi } from 'vitest';
import { systemClock, type SgwError, type VolumeId } from '../../../src/core/kit/index.ts';
import type { Candidate } from '../../../src/core/replication/candidate.ts';
import { HandOver } from '../../../src/core/replication/hand-over.ts';
import type { PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
import type { Role } from '../../../src/core/replication/role.ts';
import { SILENT } from '../../support/control/network.ts';

const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const { signal } = new AbortController();
/** Nothing is taken over here. */
const nobody: unknown = undefined;

/** A holder with two replicas in the set, which have what the test says. */
function scene(): {
  readonly handOver: HandOver;
  readonly role: { held: unknown; newest: { readonly holder: string } };
  readonly sent: PeerMessage[];
  readonly received: Map<string, number>;
  readonly gate: { closes: number; isOpen: boolean };
} {
  const gate = { closes: 0, isOpen: true };
  const sent: PeerMessage[] = [];
  const received = new Map([
    ['sgw-b', 0],
    ['sgw-c', 0],
  ]);
  const linkTo = (gatewayId: string): PeerLink =>
    ({ gatewayId, send: (message: PeerMessage) => sent.push(message) }) as unknown as PeerLink;
  const role = {
    ...{ self: 'sgw-a', volume: { volumeId }, newest: { volumeId, holder: 'sgw-a', epoch: 3 }, promisedUntil: 0 },
    held: {
      ...{ inSync: ['sgw-a', 'sgw-b', 'sgw-c'], reign: { volumeId, holder: 'sgw-a', epoch: 3 } },
      writeLog: { usage: { lastSequence: 9 } },
      senderOf: (id: string) => ({ received: received.get(id), isUpToDate: true }),
    } as unknown,
    parts: {
      ...{ clock: systemClock, log: SILENT, nameOf: (id: string) => id, leaseClock: () => performance.now() },
      times: { termMs: 4000, renewMs: 1000, marginMs: 500 },
      links: new Map(['sgw-b', 'sgw-c'].map((id) => [id, linkTo(id)])),
      host: {
        drain: async () => Promise.resolve(),
        gate: async () => {
          Object.assign(gate, { closes: gate.closes + 1, isOpen: false });
          return Promise.resolve(() => (gate.isOpen = true));
        },
      },
    },
    inTurn: async (work: () => Promise<void>) => work(),
    leave: async () => {
      role.held = undefined;
      return Promise.resolve();
    },
  };
  return { handOver: new HandOver(role as unknown as Role, nobody as Candidate), role, sent, received, gate };
}

const codeOf = async (call: Promise<void>): Promise<string> =>
  await call.then(
    () => 'done',
    (error: unknown) => (error as SgwError).code,
  );

describe('a planned take-over', () => {
  it('that is asked for while another one is under way waits, and leaves its gate alone', async () => {
    const { handOver, role, sent, received, gate } = scene();
    const aborting = new AbortController();
    const first = handOver.failOver('sgw-b', false, signal);
    const given = codeOf(handOver.failOver('sgw-c', false, aborting.signal));
    const second = codeOf(handOver.failOver('sgw-b', false, signal));
    const third = codeOf(handOver.failOver('sgw-c', false, signal));
    await vi.waitFor(() => {
      expect(gate.isOpen).toBe(false);
    });
    aborting.abort();
    await given;
    expect(gate).toEqual({ closes: 1, isOpen: false });
    received.set('sgw-b', 9);
    await vi.waitFor(() => {
      expect(sent.map(({ kind }) => kind)).toEqual(['release']);
    });
    role.newest = { holder: 'sgw-b' };
    handOver.took({ volumeId, holder: 'sgw-b', epoch: 4 });
    await first;
    expect(gate).toEqual({ closes: 1, isOpen: true });
    // The one has what it wanted; the other has to ask the new holder.
    expect(await Promise.all([second, third])).toEqual(['done', 'not-the-holder']);
  });

  it('that failed lets the next one begin', async () => {
    const { handOver, sent, received, gate } = scene();
    received.set('sgw-c', 9);
    const aborting = new AbortController();
    const first = codeOf(handOver.failOver('sgw-b', false, aborting.signal));
    const second = handOver.failOver('sgw-c', false, signal);
    await vi.waitFor(() => {
      expect(gate.isOpen).toBe(false);
    });
    aborting.abort();
    expect(await first).not.toBe('done');
    await vi.waitFor(() => {
      expect(sent).toHaveLength(1);
    });
    handOver.took({ volumeId, holder: 'sgw-c', epoch: 4 });
    await second;
    expect(gate).toEqual({ closes: 2, isOpen: true });
  });
});
