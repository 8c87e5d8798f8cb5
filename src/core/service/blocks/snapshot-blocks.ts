/**
 * Reads snapshots block by block for accounts: lists what is written, what differs between two, and gives a block to who has
 * a token for it.
 *
 * Export control decides, and records it, when a listing begins; tokens and pages are what it granted. At each page and each
 * block it is asked again, without a record; an answer of a moment ago will do, since who takes a grant back waits that long
 * before he is told so (`exportcontrol/sharing.ts`).
 */
import { BlockReader, type ReadBlock } from '../../blockstore/blocks/index.ts';
import { API_BLOCK_BYTES, RecentReads, type SnapshotEntry } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import type { Asker, ExportControl } from '../exportcontrol/export-control.ts';
import { BlocksAhead } from './blocks-ahead.ts';
import type { BlockTokens, Listing } from './tokens.ts';

/** Where a listing begins, and how much of it is wanted. */
export interface PageWish {
  /** From the page before; then `fromBlock` counts for nothing. */
  readonly pageToken: string | null;
  readonly fromBlock: number;
  readonly max: number;
}

export interface BlockPage<B> {
  readonly blocks: readonly B[];
  readonly sizeBytes: number;
  /** Until when the blocks' tokens are good, milliseconds. */
  readonly goodUntilMs: number;
  /** Null on the last page. */
  readonly nextToken: string | null;
}

export interface ListedBlock {
  readonly block: number;
  readonly token: string;
}

export interface ListedChange {
  readonly block: number;
  /** Null where nothing is written in the first, or the second. */
  readonly firstToken: string | null;
  readonly secondToken: string | null;
}

export class SnapshotBlocks {
  readonly #context: ServiceContext;
  readonly #exports: ExportControl;
  readonly #tokens: BlockTokens;
  readonly #reader: BlockReader;
  readonly #ahead: BlocksAhead;
  /** By account and snapshot. */
  readonly #rights: RecentReads<SnapshotEntry>;

  /** `closed` ends what goes on behind calls. */
  constructor(context: ServiceContext, exports: ExportControl, tokens: BlockTokens, closed: AbortSignal) {
    this.#context = context;
    this.#exports = exports;
    this.#tokens = tokens;
    this.#reader = new BlockReader(context.blocks);
    this.#ahead = new BlocksAhead(this.#reader, closed);
    const { clock } = context.blocks;
    this.#rights = new RecentReads(
      async (name, signal) => {
        const [accountId = '', snapshotId = ''] = name.split(' ');
        return await exports.openAgain(accountId, snapshotId, signal);
      },
      { clock, closed },
    );
  }

  /**
   * The blocks in which something is written, ascending.
   * @throws notFound `snapshot-not-found`; denied `export-denied`, `page-token-wrong`; conflict `snapshot-not-completed`;
   * unsupported `blocks-sealed-store`
   */
  async list(asker: Asker, snapshotId: string, wish: PageWish, signal: AbortSignal): Promise<BlockPage<ListedBlock>> {
    const listing: Listing = { accountId: asker.accountId, snapshotId, firstSnapshotId: null, kind: 'blocks' };
    const fromBlock = this.#begin(listing, wish);
    const entry = await this.#open(asker, snapshotId, wish, signal);
    const goodUntilMs = this.#tokens.blocksGoodUntilMs();
    const written = this.#reader.written(entry.root, fromBlock, signal);
    return await this.#page(listing, entry, goodUntilMs, wish.max, written, (block) => ({
      block,
      token: this.#tokens.forBlock({ accountId: asker.accountId, snapshotId, block }, goodUntilMs),
    }));
  }

  /**
   * The blocks that differ between two snapshots of one lineage, ascending; without a first one, all that are written.
   * @throws as `list`, of either; invalid `unrelated-snapshots`
   */
  async listChanged(
    asker: Asker,
    { first, second }: { readonly first: string | null; readonly second: string },
    wish: PageWish,
    signal: AbortSignal,
  ): Promise<BlockPage<ListedChange>> {
    const { accountId } = asker;
    const listing: Listing = { accountId, snapshotId: second, firstSnapshotId: first, kind: 'changedBlocks' };
    const fromBlock = this.#begin(listing, wish);
    const entry = await this.#open(asker, second, wish, signal);
    const before = first === null ? null : await this.#open(asker, first, wish, signal);
    if (before !== null && before.lineage !== entry.lineage) throw unrelated(before, entry);
    const goodUntilMs = this.#tokens.blocksGoodUntilMs();
    const newer = before !== null && before.createdAt > entry.createdAt ? 'a' : 'b';
    const changed = this.#reader.changed(before?.root ?? null, entry.root, { fromBlock, newer }, signal);
    const token = (snapshotId: string | null, block: number, isWritten: boolean): string | null =>
      snapshotId === null || !isWritten ? null : this.#tokens.forBlock({ accountId, snapshotId, block }, goodUntilMs);
    return await this.#page(listing, entry, goodUntilMs, wish.max, changed, ({ block, inA, inB }) => ({
      block,
      firstToken: token(first, block, inA),
      secondToken: token(second, block, inB),
    }));
  }

  /**
   * All 512 KiB of a block, and their SHA-256.
   * @throws denied `block-token-wrong`, `export-denied`; notFound `snapshot-not-found`; corrupt
   */
  async read(
    asker: Asker,
    { snapshotId, block, token }: { readonly snapshotId: string; readonly block: number; readonly token: string },
    signal: AbortSignal,
  ): Promise<ReadBlock> {
    this.#requireReadable();
    const { accountId } = asker;
    this.#tokens.requireBlock(token, { accountId, snapshotId, block });
    const name = `${accountId} ${snapshotId}`;
    const entry = await this.#rights.get(name, signal);
    return await this.#ahead.read(name, entry.root, block, signal);
  }

  /**
   * As `read`, without a token: export control decides, and with `recorded` records it.
   * @throws as `read`; invalid `block-out-of-range`
   */
  async readOpen(
    asker: Asker,
    {
      snapshotId,
      block,
      recorded,
    }: { readonly snapshotId: string; readonly block: number; readonly recorded: boolean },
    signal: AbortSignal,
  ): Promise<ReadBlock> {
    this.#requireReadable();
    const name = `${asker.accountId} ${snapshotId}`;
    const entry = recorded
      ? await this.#exports.open(asker, { snapshotId, purpose: 'read' }, signal)
      : await this.#rights.get(name, signal);
    if (block * API_BLOCK_BYTES >= entry.sizeBytes)
      throw new SgwError('invalid', 'block-out-of-range', `snapshot ${snapshotId} has no block ${String(block)}`, {
        details: { snapshotId, block },
      });
    return await this.#ahead.read(name, entry.root, block, signal);
  }

  /** The block to begin with. */
  #begin(listing: Listing, { pageToken, fromBlock }: PageWish): number {
    this.#requireReadable();
    return pageToken === null ? fromBlock : this.#tokens.nextBlockOf(pageToken, listing);
  }

  async #open(asker: Asker, snapshotId: string, { pageToken }: PageWish, signal: AbortSignal): Promise<SnapshotEntry> {
    return pageToken === null
      ? await this.#exports.open(asker, { snapshotId, purpose: 'read' }, signal)
      : await this.#rights.get(`${asker.accountId} ${snapshotId}`, signal);
  }

  /** @throws unsupported `blocks-sealed-store` */
  #requireReadable(): void {
    if (this.#context.blocks.keys === undefined) return;
    throw new SgwError('unsupported', 'blocks-sealed-store', 'the store has a key that its customer holds', {
      hint: 'Blocks of such a store are read by a gateway that has the key.',
    });
  }

  async #page<F, B>(
    listing: Listing,
    { sizeBytes }: SnapshotEntry,
    goodUntilMs: number,
    max: number,
    found: AsyncIterable<F>,
    blockOf: (found: F) => B & { readonly block: number },
  ): Promise<BlockPage<B>> {
    const blocks: (B & { readonly block: number })[] = [];
    for await (const one of found) {
      const block = blockOf(one);
      if (blocks.length === max)
        return { blocks, sizeBytes, goodUntilMs, nextToken: this.#tokens.forPage(listing, block.block) };
      blocks.push(block);
    }
    return { blocks, sizeBytes, goodUntilMs, nextToken: null };
  }
}

function unrelated(first: SnapshotEntry, second: SnapshotEntry): SgwError {
  return new SgwError(
    'invalid',
    'unrelated-snapshots',
    `snapshots ${first.snapshotId} and ${second.snapshotId} are of volumes that have nothing in common`,
    { hint: 'Compare snapshots of one volume, or of its clones.', details: { lineage: second.lineage } },
  );
}
