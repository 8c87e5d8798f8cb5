/**
 * Which group has something that only one may have: a gateway, a volume, a name.
 *
 * A claim is a document of its own: taken before the group's document is changed, confirmed after, given back after the thing
 * was taken out. What counts is both: a claim whose group does not have the thing (somebody died in between) may be taken by
 * another group, and what a group's document has without the claim is not the group's. To confirm changes the claim, so that
 * whoever saw the group without the thing, and takes the claim late, fails; or the confirmation does, and the group gives way.
 */
import { createDocument, readDocument, replaceDocument, type BlockStoreOptions } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';

interface Claim {
  /** Null: given back. */
  readonly groupId: string | null;
  /** Once the group had the thing. */
  readonly isConfirmed: boolean;
}

const TRIES = 64;

export class Claims {
  readonly #blocks: BlockStoreOptions;

  constructor(blocks: BlockStoreOptions) {
    this.#blocks = blocks;
  }

  /** The group whose claim it is, whether that has the thing or not; null when there is none. */
  async groupOf(key: string, signal: AbortSignal): Promise<string | null> {
    return (await readDocument<Claim>(this.#blocks, key, signal))?.value.groupId ?? null;
  }

  /**
   * Takes it for a group, unless another one has it, which is what `has` tells. Returns that other group; undefined when it is
   * taken, durably.
   */
  async take(
    key: string,
    groupId: string,
    has: (otherGroupId: string) => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const taken: Claim = { groupId, isConfirmed: false };
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const now = await readDocument<Claim>(this.#blocks, key, signal);
      if (now === undefined) {
        if (await createDocument(this.#blocks, key, taken, signal)) return undefined;
        continue;
      }
      const other = now.value.groupId;
      if (other === groupId) return undefined;
      if (other !== null && (await has(other))) return other;
      if ((await replaceDocument(this.#blocks, key, now, taken, signal)).outcome === 'stored') return undefined;
      await this.#blocks.clock.sleep(this.#blocks.random.float() * Math.min(100, 2 ** attempt), signal);
    }
    throw new SgwError('unavailable', 'document-contended', `object ${key} is changed by others all the time`, {
      hint: 'Try again.',
      details: { key },
    });
  }

  /**
   * Says that the group has the thing now; `changed`: since this call. False when another group has taken the claim meanwhile.
   * Durable when it resolves.
   */
  async confirm(key: string, groupId: string, changed: boolean, signal: AbortSignal): Promise<boolean> {
    const now = await readDocument<Claim>(this.#blocks, key, signal);
    if (now?.value.groupId !== groupId) return false;
    if (now.value.isConfirmed && !changed) return true;
    const next: Claim = { groupId, isConfirmed: true };
    if ((await replaceDocument(this.#blocks, key, now, next, signal)).outcome === 'stored') return true;
    return await this.confirm(key, groupId, changed, signal);
  }

  /** Gives it back, if it is the group's. */
  async release(key: string, groupId: string, signal: AbortSignal): Promise<void> {
    const now = await readDocument<Claim>(this.#blocks, key, signal);
    if (now?.value.groupId !== groupId) return;
    // Lost to somebody: then it is not the group's any more.
    await replaceDocument(this.#blocks, key, now, { groupId: null, isConfirmed: false } satisfies Claim, signal);
  }
}
