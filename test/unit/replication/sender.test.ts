/** What a holder knows of a replica by what that tells of its log. */
import { describe, expect, it } from 'vitest';
import { SgwError, type VolumeId } from '../../../src/core/kit/index.ts';
import type { PeerLink, PeerMessage } from '../../../src/core/replication/messages.ts';
import { Sender } from '../../../src/core/replication/sender.ts';
import type { WriteLog } from '../../../src/core/writelog/index.ts';

const volumeId = 'vol-0123456789abcdef0' as VolumeId;
const INCARNATION = { incarnation: '00112233445566ff', epoch: 2, baseSeq: 0, uploadedSequence: 9, firstSequence: 10 };

interface Scene {
  readonly sender: Sender;
  readonly sent: PeerMessage[];
  /** Codes of what it could not read. */
  readonly unreadable: string[];
  /** From now on the log can't be read. */
  readonly breakLog: () => void;
}

function senderOf(lastSequence = 9, exportedAs: () => string | undefined = () => undefined): Scene {
  const sent: PeerMessage[] = [];
  const unreadable: string[] = [];
  let isBroken = false;
  const link = { gatewayId: 'sgw-b', waitingBytes: 0, send: (message: PeerMessage) => sent.push(message) };
  const log = {
    usage: { lastSequence, uploadedSequence: 9, dirtyBytes: 0, capacityBytes: 1 << 20 },
    incarnations: [INCARNATION],
    sent: (from: number) => {
      if (isBroken) throw new SgwError('unavailable', 'io-error', 'the disk gives an error');
      return from > log.usage.lastSequence
        ? []
        : [{ ...INCARNATION, sequence: from, body: Buffer.alloc(8), pages: Buffer.alloc(0) }];
    },
  };
  const sender: Sender = new Sender({
    ...{ volumeId, link: link as unknown as PeerLink, log: log as unknown as WriteLog },
    reign: () => ({ volumeId, holder: 'sgw-a', epoch: 2 }),
    exportedAs,
    // As the holder does for flushes that wait.
    onStreaming: () => {
      if (lastSequence > 9) sender.sync(lastSequence);
    },
    onGot: () => undefined,
    onUnreadable: ({ code }) => unreadable.push(code),
  });
  const breakLog = (): void => {
    isBroken = true;
    log.usage.lastSequence += 1;
  };
  return { sender, sent, unreadable, breakLog };
}

it('a replica that is whole, and has what the holder has not, begins anew, and is whole when it says so again', () => {
  const { sender, sent } = senderOf();
  const ofItsOwn = { incarnation: 'ffeeddccbbaa0099', firstSequence: 1, received: 12, synced: 12, isWhole: true };
  sender.position(ofItsOwn);
  expect(sent.at(-1)).toMatchObject({ kind: 'from', from: 10, anew: true });
  expect(sender.isWhole).toBe(false);
  sender.position({ ...ofItsOwn, incarnation: INCARNATION.incarnation, received: 9, synced: 9 });
  expect(sender.isWhole).toBe(true);
});

it('a replica that is whole, and goes on where it ends, stays whole', () => {
  const { sender, sent } = senderOf();
  const { incarnation } = INCARNATION;
  sender.position({ incarnation, firstSequence: 1, received: 9, synced: 9, isWhole: true });
  expect(sent.at(-1)).toMatchObject({ kind: 'from', from: 10, anew: false });
  expect(sender.isWhole).toBe(true);
});

it('what waits to be durable when a replica begins to take records is asked for behind them, not before', () => {
  const { sender, sent } = senderOf(12);
  const { incarnation } = INCARNATION;
  sender.position({ incarnation, firstSequence: 1, received: 9, synced: 9, isWhole: true });
  expect(sent.slice(1).map(({ kind }) => kind)).toEqual(['from', 'records', 'records', 'records', 'sync']);
  expect(sent.at(-1)).toMatchObject({ kind: 'sync', sequence: 12 });
  expect([sender.lacksRecords, sender.lacksSync]).toEqual([true, true]);
  sender.got(12, 9);
  expect([sender.lacksRecords, sender.lacksSync]).toEqual([false, true]);
  sender.got(12, 12);
  expect(sender.lacksSync).toBe(false);
});

it('a log that can not be read ends the sender, and nobody else: it is reported, and nothing asked or sent any more', () => {
  const { sender, sent, unreadable, breakLog } = senderOf(12);
  const { incarnation } = INCARNATION;
  const position = { incarnation, firstSequence: 1, received: 9, synced: 9, isWhole: true };
  sender.position(position);
  breakLog();
  const before = sent.length;
  sender.got(12, 9);
  expect([unreadable, sender.isStreaming, sender.received]).toEqual([['io-error'], false, 12]);
  sender.pump();
  sender.open();
  sender.position(position);
  expect([unreadable, sent.length]).toEqual([['io-error'], before]);
});

it('so it does when the replica tells where it ends', () => {
  const { sender, sent, unreadable, breakLog } = senderOf();
  breakLog();
  sender.position({ incarnation: INCARNATION.incarnation, firstSequence: 1, received: 3, synced: 3, isWhole: true });
  expect([unreadable, sent.map(({ kind }) => kind)]).toEqual([['io-error'], ['open']]);
});

describe('how the volume is served', () => {
  const { incarnation } = INCARNATION;
  const WHOLE = { incarnation, firstSequence: 1, received: 9, synced: 9, isWhole: true };

  /** Asked twice, before and after it was served otherwise. */
  function askedTwice(): { readonly sender: Sender; readonly stamps: readonly (number | undefined)[] } {
    let exportedAs = 'as before';
    const { sender, sent } = senderOf(9, () => exportedAs);
    exportedAs = 'as now';
    sender.open();
    return { sender, stamps: sent.flatMap((message) => (message.kind === 'open' ? [message.stamp] : [])) };
  }

  it('is noted by a replica that has answered what told it, and not what came before', () => {
    const { sender, stamps } = askedTwice();
    sender.position(WHOLE, stamps[0]);
    expect([sender.isStreaming, sender.isUpToDate]).toEqual([true, false]);
    // As one answers that was told that it is whole.
    sender.position(WHOLE, stamps[0]);
    expect(sender.isUpToDate).toBe(false);
    sender.position(WHOLE, stamps[1]);
    expect(sender.isUpToDate).toBe(true);
  });

  it('is noted by a replica that answers late, and was asked again meanwhile', () => {
    const { sender, stamps } = askedTwice();
    sender.open();
    sender.position(WHOLE, stamps[1]);
    expect(sender.isUpToDate).toBe(true);
  });

  it('is taken to be noted by one of an earlier version, which does not tell what it answers', () => {
    const { sender } = askedTwice();
    sender.position(WHOLE);
    expect(sender.isUpToDate).toBe(true);
  });
});
