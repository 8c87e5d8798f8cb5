/** Blocks that are read ahead: for whom, how many, and that each request gets its own block. */
import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { BlocksAhead } from '../../../src/core/service/blocks/blocks-ahead.ts';

const BLOCKS = 1000;
const NAME = 'acct snap';
const { signal } = new AbortController();

/** A store whose reads end when the test lets them. */
class FakeBlocks {
  readonly asked: number[] = [];
  readonly broken = new Set<number>();
  isWritten = (_block: number): boolean => true;

  async read(_root: unknown, block: number): Promise<{ bytes: Buffer; sha256: string }> {
    this.asked.push(block);
    await turn();
    if (this.broken.has(block)) throw new SgwError('corrupt', 'object-damaged', `block ${String(block)} is damaged`);
    return { bytes: Buffer.from([block & 0xff]), sha256: `sha of ${String(block)}` };
  }

  async writtenNear(_root: unknown, from: number, max: number): Promise<number[]> {
    await turn();
    const near = Array.from({ length: 16 }, (_, i) => from + i);
    return near.filter((block) => block < BLOCKS && this.isWritten(block)).slice(0, max);
  }
}

let blocks: FakeBlocks;
let closed: AbortController;
let ahead: BlocksAhead;
beforeEach(() => {
  blocks = new FakeBlocks();
  closed = new AbortController();
  ahead = new BlocksAhead(blocks, closed.signal);
});

const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await turn();
};

async function read(block: number, name = NAME): Promise<void> {
  const got = await ahead.read(name, null, block, signal);
  expect(got).toEqual({ bytes: Buffer.from([block & 0xff]), sha256: `sha of ${String(block)}` });
  await settled();
}

describe('blocks that are read ahead', () => {
  it('the next four, of who reads in order; each is read once', async () => {
    await read(0);
    expect(blocks.asked).toEqual([0]);
    await read(1);
    expect(blocks.asked).toEqual([0, 1, 2, 3, 4, 5]);
    for (let block = 2; block < BLOCKS; block++) await read(block);
    expect(blocks.asked).toEqual(Array.from({ length: BLOCKS }, (_, i) => i));
  });

  it('only those in which something is written', async () => {
    blocks.isWritten = (block) => block % 3 === 0;
    for (const block of [0, 3, 6, 9]) await read(block);
    expect(blocks.asked).toEqual([0, 3, 6, 9, 12, 15, 18, 21]);
  });

  it('each is read once, of who asks for eight side by side', async () => {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < 200) await read(next++);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    expect(blocks.asked.filter((block) => block < 200).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, i) => i),
    );
  });

  it('none, of who reads here and there', async () => {
    for (const block of [500, 100, 900, 300, 700]) await read(block);
    expect(blocks.asked).toEqual([500, 100, 900, 300, 700]);
  });

  it('what was read ahead in vain is forgotten, and less is read ahead then', async () => {
    for (const block of [0, 1]) await read(block);
    for (let block = 60; block < 600; block += 60) await read(block);
    expect(blocks.asked.length).toBeLessThan(40);
  });

  it('one that failed is read again by who asks for it, and he is told why', async () => {
    blocks.broken.add(3);
    for (const block of [0, 1, 2]) await read(block);
    await expect(read(3)).rejects.toMatchObject({ code: 'object-damaged' });
    blocks.broken.delete(3);
    await read(3);
    expect(blocks.asked.filter((block) => block === 3)).toHaveLength(3);
  });

  it('a block goes to one request: who asks again has it read again', async () => {
    for (const block of [0, 1, 2, 2]) await read(block);
    expect(blocks.asked.filter((block) => block === 2)).toHaveLength(2);
  });

  it('is bounded over all readers, and goes to those who read now', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `reader ${String(i)}`);
    for (const name of names) for (const block of [0, 1]) await read(block, name);
    expect(blocks.asked).toHaveLength(20 * 6);
    blocks.asked.length = 0;
    // The first ones were forgotten, the last ones were not.
    await read(2, names.at(-1));
    expect(blocks.asked).toEqual([6]);
    await read(2, names[0]);
    expect(blocks.asked).toContain(2);
  });

  it('other accounts get nothing of it', async () => {
    for (const block of [0, 1]) await read(block);
    await read(2, 'other snap');
    expect(blocks.asked.filter((block) => block === 2)).toHaveLength(2);
  });

  it('nothing is begun any more once the server closes', async () => {
    for (const block of [0, 1]) await read(block);
    closed.abort();
    blocks.asked.length = 0;
    await read(2);
    expect(blocks.asked).toEqual([]);
  });
});
