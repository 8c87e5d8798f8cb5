/** Sharing snapshots: an account lets another one use its blocks in a snapshot, and an owner lets it see the snapshot. */
import { Catalog, RECENT_SETTLED_MS, type SnapshotEntry } from '../../blockstore/index.ts';
import { isSnapshotId, SgwError, type SnapshotId } from '../../kit/index.ts';
import type { Grant, MessageResult } from '../../protocol/index.ts';
import type { Audit } from '../audit/audit.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import type { Accounts } from '../identity/accounts.ts';
import { notFound, type Asker } from './export-control.ts';
import { grantsSeenBy, judge, mayShare } from './rights.ts';

/** A snapshot is shared with as many accounts as its entry can hold well. */
const GRANTS_MAX = 1000;

interface Request {
  readonly snapshotId: string;
  readonly withAccountId: string;
}

export class Sharing {
  readonly #context: ServiceContext;
  readonly #catalog: Catalog;
  readonly #accounts: Accounts;
  readonly #audit: Audit;

  constructor(context: ServiceContext, accounts: Accounts, audit: Audit) {
    this.#context = context;
    this.#catalog = new Catalog(context.blocks);
    this.#accounts = accounts;
    this.#audit = audit;
  }

  /**
   * Grants. Durable when it resolves.
   * @throws notFound `snapshot-not-found`, `account-not-found`; denied `not-owner`; invalid `share-with-self`; exhausted
   * `too-many-grants`
   */
  async share(asker: Asker, request: Request, signal: AbortSignal): Promise<MessageResult<'snapshot.share'>> {
    const { accountId } = asker;
    const { withAccountId } = request;
    if (withAccountId === accountId) {
      throw new SgwError('invalid', 'share-with-self', `account ${accountId} has its own blocks already`, {
        hint: 'Name another account: `sgw service account list`.',
      });
    }
    await this.#accounts.find(withAccountId, signal);
    const grant: Grant = { accountId: withAccountId, by: accountId, grantedAt: timeOf(this.#context) };
    return await this.#change('share', asker, request, signal, (grants) => {
      if (grants.some((other) => isAlike(other, grant))) return grants;
      if (grants.length >= GRANTS_MAX)
        throw new SgwError('exhausted', 'too-many-grants', `a snapshot is shared ${String(GRANTS_MAX)} times at most`);
      return [...grants, grant];
    });
  }

  /**
   * Takes back what this account granted; no server lets anything out on it when this resolves. Clones that were made meanwhile stay; what they hold of this account's
   * blocks can not be exported from then on. Durable when it resolves.
   */
  async unshare(asker: Asker, request: Request, signal: AbortSignal): Promise<MessageResult<'snapshot.unshare'>> {
    const { withAccountId } = request;
    const result = await this.#change('unshare', asker, request, signal, (grants) => {
      const left = grants.filter((grant) => !isAlike(grant, { accountId: withAccountId, by: asker.accountId }));
      return left.length === grants.length ? grants : left;
    });
    // Servers go by what they read a moment ago.
    if (!this.#context.isEmbedded) await this.#context.blocks.clock.sleep(RECENT_SETTLED_MS, signal);
    return result;
  }

  async #change(
    kind: 'share' | 'unshare',
    asker: Asker,
    { snapshotId, withAccountId }: Request,
    signal: AbortSignal,
    change: (grants: readonly Grant[]) => readonly Grant[],
  ): Promise<MessageResult<'snapshot.share'>> {
    if (!isSnapshotId(snapshotId)) throw notFound(snapshotId);
    const found = await this.#read(snapshotId, signal);
    requireRight(asker, found);
    const before = found.grants ?? [];
    const changed = change(before) !== before;
    // First the record: what can't be recorded is not granted, and nothing is granted without a trace.
    await this.#audit.record({ kind, ...asker, snapshotId, withAccountId, changed }, signal);
    const entry = changed ? await this.#apply(asker, snapshotId, change, signal) : found;
    return { name: entry.name, grants: grantsSeenBy(asker.accountId, entry), changed };
  }

  async #apply(
    asker: Asker,
    snapshotId: SnapshotId,
    change: (grants: readonly Grant[]) => readonly Grant[],
    signal: AbortSignal,
  ): Promise<SnapshotEntry> {
    return await this.#catalog.updateSnapshot(
      snapshotId,
      (now) => {
        requireRight(asker, now);
        const before = now.grants ?? [];
        const grants = change(before);
        return grants === before ? now : { ...now, grants };
      },
      signal,
    );
  }

  /** One that does not exist is refused just like one that the asker must not know of. */
  async #read(snapshotId: SnapshotId, signal: AbortSignal): Promise<SnapshotEntry> {
    try {
      return await this.#catalog.getSnapshot(snapshotId, signal);
    } catch (error) {
      throw error instanceof SgwError && error.kind === 'notFound' ? notFound(snapshotId) : error;
    }
  }
}

const isAlike = (a: Pick<Grant, 'accountId' | 'by'>, b: Pick<Grant, 'accountId' | 'by'>): boolean =>
  a.accountId === b.accountId && a.by === b.by;

function requireRight({ accountId }: Asker, entry: SnapshotEntry): void {
  if (entry.state === 'deleted') throw notFound(entry.snapshotId);
  if (mayShare(accountId, entry)) return;
  if (!judge(accountId, entry).isVisible) throw notFound(entry.snapshotId);
  throw new SgwError(
    'denied',
    'not-owner',
    `snapshot "${entry.name}" belongs to account ${entry.accountId}, and holds no block of ${accountId}`,
    {
      hint: 'Its owner, and whoever has blocks in it, can share it.',
      details: { snapshotId: entry.snapshotId, ownerAccountId: entry.accountId },
    },
  );
}
