/** Tokens for blocks and pages: for how long they are good, and of which servers. */
import { describe, expect, it } from 'vitest';
import { BlockTokens } from '../../../../src/core/service/blocks/tokens.ts';
import { ManualClock } from '../../objectstore/manual-clock.ts';

const HOUR = 60 * 60_000;
const OF = { accountId: '111111111111', snapshotId: 'snap-0123456789abcdef0', block: 7 };
const LISTING = { accountId: OF.accountId, snapshotId: OF.snapshotId, firstSnapshotId: null, kind: 'blocks' } as const;

function tokensAt(clock: ManualClock, secret = 1): BlockTokens {
  return new BlockTokens(Buffer.alloc(32, secret), clock);
}

describe('a token', () => {
  it('of a block is good for seven days, on every server with the same key', () => {
    const clock = new ManualClock();
    clock.ms = Date.UTC(2026, 0, 1);
    const tokens = tokensAt(clock);
    const token = tokens.forBlock(OF, tokens.blocksGoodUntilMs());
    clock.ms += 7 * 24 * HOUR - 1000;
    tokensAt(clock).requireBlock(token, OF);
    expect(() => {
      tokensAt(clock, 2).requireBlock(token, OF);
    }).toThrow(expect.objectContaining({ code: 'block-token-wrong' }));
    clock.ms += 1000;
    expect(() => {
      tokens.requireBlock(token, OF);
    }).toThrow(expect.objectContaining({ code: 'block-token-wrong' }));
  });

  it('of a page is good for an hour, and says where it begins', () => {
    const clock = new ManualClock();
    clock.ms = Date.UTC(2026, 0, 1);
    const tokens = tokensAt(clock);
    const token = tokens.forPage(LISTING, 123_456);
    clock.ms += HOUR - 1000;
    expect(tokens.nextBlockOf(token, LISTING)).toBe(123_456);
    clock.ms += 1000;
    expect(() => tokens.nextBlockOf(token, LISTING)).toThrow(expect.objectContaining({ code: 'page-token-wrong' }));
  });

  it('is for what it was given for, and nothing else', () => {
    const clock = new ManualClock();
    const tokens = tokensAt(clock);
    const token = tokens.forBlock(OF, tokens.blocksGoodUntilMs());
    const others = [
      { ...OF, accountId: '222222222222' },
      { ...OF, snapshotId: 'snap-0123456789abcdef1' },
      { ...OF, block: 8 },
    ];
    for (const other of others)
      expect(() => {
        tokens.requireBlock(token, other);
      }).toThrow(expect.objectContaining({ code: 'block-token-wrong' }));
    const page = tokens.forPage(LISTING, 0);
    for (const other of [
      { ...LISTING, kind: 'changedBlocks' as const },
      { ...LISTING, firstSnapshotId: OF.snapshotId },
    ])
      expect(() => tokens.nextBlockOf(page, other)).toThrow(expect.objectContaining({ code: 'page-token-wrong' }));
  });
});
