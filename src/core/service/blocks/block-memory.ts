/**
 * Memory of blocks. V8 begins a collection for each 64 MiB of fresh buffers, which for blocks of 512 KiB is more work than
 * all else that is done for them: so what blocks are read into is used again, and what was sent is freed at once.
 */
import type { FastifyReply } from 'fastify';
import { API_BLOCK_BYTES } from '../../blockstore/index.ts';
import { freeMemory } from '../../kit/index.ts';

/** 8 MiB are kept. */
const KEPT_MAX = 16;

export class BlockMemory {
  readonly #free: Buffer[] = [];

  /**
   * Runs `work` with memory for a block, 512 KiB of anything. When `work` succeeds, nothing may use it any more: it is then for
   * another block. After a failure something may still be on its way out of it, and it is left to the collector.
   */
  async run<T>(work: (memory: Buffer) => Promise<T>): Promise<T> {
    const memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(API_BLOCK_BYTES);
    const result = await work(memory);
    if (this.#free.length < KEPT_MAX) this.#free.push(memory);
    return result;
  }
}

/** Frees `bytes`, which are nobody else's, when all of the answer is with the operating system. */
export function freeWhenSent({ raw }: FastifyReply, bytes: Buffer): void {
  raw.once('finish', () => {
    freeMemory(bytes);
  });
}
