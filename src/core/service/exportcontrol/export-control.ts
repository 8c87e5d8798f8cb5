/**
 * The one place that decides what may leave (S7). Each decision is recorded before it is answered, so that nothing leaves
 * without a trace.
 */
import { Catalog, type SnapshotEntry } from '../../blockstore/index.ts';
import { isSnapshotId, Semaphore, SgwError } from '../../kit/index.ts';
import type { MessageResult } from '../../protocol/index.ts';
import type { Audit } from '../audit/audit.ts';
import type { ServiceContext } from '../context.ts';
import { grantsSeenBy, judge, type Verdict } from './rights.ts';

const READS_AT_ONCE = 16;

/** Who asks: a gateway, for an account, or a user. */
export interface Asker {
  readonly gatewayId: string | null;
  readonly accountId: string;
  /** Of a user: the access key that signed. */
  readonly accessKeyId?: string;
}

/** A volume of the block API, and what it reads as where nothing was written to it since. */
export interface VolumeReading {
  readonly volumeId: string;
  /** What is written to it goes there. */
  readonly session: string;
  readonly base: Pick<SnapshotEntry, 'snapshotId' | 'root'> | null;
}

export class ExportControl {
  readonly #context: ServiceContext;
  readonly #catalog: Catalog;
  readonly #audit: Audit;

  constructor(context: ServiceContext, audit: Audit) {
    this.#context = context;
    this.#catalog = new Catalog(context.blocks);
    this.#audit = audit;
  }

  /**
   * Decides, and records it.
   * @throws denied `export-denied` naming the accounts that do not agree; notFound `snapshot-not-found`; conflict
   * `snapshot-not-completed`
   */
  async decide(
    asker: Asker,
    { snapshotId, purpose }: { readonly snapshotId: string; readonly purpose: Purpose },
    signal: AbortSignal,
  ): Promise<MessageResult<'export.decide'>> {
    await this.open(asker, { snapshotId, purpose }, signal);
    return { binding: !this.#context.isEmbedded };
  }

  /** As `decide`; returns the snapshot that was decided on. @throws the same */
  async open(
    asker: Asker,
    { snapshotId, purpose }: { readonly snapshotId: string; readonly purpose: Purpose | 'read' },
    signal: AbortSignal,
  ): Promise<SnapshotEntry> {
    const entry = await this.#read(snapshotId, signal);
    if (entry === undefined) throw notFound(snapshotId);
    const verdict = judge(asker.accountId, entry);
    const granted = verdict.mayExport && entry.state === 'completed';
    await this.#audit.record({ kind: purpose, ...asker, snapshotId, granted, missing: verdict.missing }, signal);
    requireGranted(asker, entry, verdict, purpose);
    return entry;
  }

  /**
   * Once more, for something that goes on what `open` granted before: so that what is taken back is so at once. Leaves no
   * record. @throws as `open`
   */
  async openAgain(accountId: string, snapshotId: string, signal: AbortSignal): Promise<SnapshotEntry> {
    const entry = await this.#read(snapshotId, signal);
    if (entry === undefined) throw notFound(snapshotId);
    requireGranted({ accountId }, entry, judge(accountId, entry), 'read');
    return entry;
  }

  /**
   * Decides on reading a volume of the block API, by what it reads as where nothing was written to it: that may be another
   * account's. What was written to it is the account's own. Leaves a record with `recorded`.
   * @throws denied `export-denied`
   */
  async openVolume(
    asker: Asker,
    { volumeId, session, base }: VolumeReading,
    recorded: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { accountId } = asker;
    const entry = base === null ? undefined : await this.#read(base.snapshotId, signal);
    // A base that is deleted is shared with nobody any more.
    const manifest = entry?.state === 'completed' ? entry : { accountId, creators: [] };
    const { mayExport, missing } = judge(accountId, { ...manifest, root: base?.root ?? null });
    if (recorded)
      await this.#audit.record(
        { kind: 'read', ...asker, volumeId, snapshotId: session, granted: mayExport, missing },
        signal,
      );
    if (!mayExport) throw volumeDenied(accountId, volumeId, missing);
  }

  /** As `decide` does for an export, without a record. @throws the same */
  async judge(accountId: string, snapshotId: string, signal: AbortSignal): Promise<MessageResult<'export.judge'>> {
    const entry = await this.#read(snapshotId, signal);
    if (entry === undefined) throw notFound(snapshotId);
    requireGranted({ accountId }, entry, judge(accountId, entry), 'export');
    return { binding: !this.#context.isEmbedded };
  }

  /** Which of these the account may export. Leaves one record. */
  async list(asker: Asker, snapshotIds: readonly string[], signal: AbortSignal): Promise<string[]> {
    const { rights } = await this.survey(asker.accountId, snapshotIds, signal);
    const exportable = rights.filter((right) => right.exportable).map(({ snapshotId }) => snapshotId);
    const leftOut = rights.filter((right) => !right.exportable).map(({ snapshotId }) => snapshotId);
    await this.#audit.record({ kind: 'list', ...asker, listed: exportable, leftOut }, signal);
    return exportable;
  }

  /** What decisions on exports would be, in the order asked. Leaves no record. */
  async survey(
    accountId: string,
    snapshotIds: readonly string[],
    signal: AbortSignal,
  ): Promise<MessageResult<'export.survey'>> {
    const slots = new Semaphore(READS_AT_ONCE);
    const rights = await Promise.all(
      snapshotIds.map(async (snapshotId) => {
        const release = await slots.acquire(1, signal);
        try {
          return { snapshotId, ...(await this.assess(accountId, snapshotId, signal)) };
        } finally {
          release();
        }
      }),
    );
    return { rights };
  }

  /** What a decision on an export would be. */
  async assess(accountId: string, snapshotId: string, signal: AbortSignal): Promise<MessageResult<'export.assess'>> {
    const entry = await this.#read(snapshotId, signal);
    if (entry === undefined) return { exportable: false, grants: [] };
    const exportable = entry.state === 'completed' && judge(accountId, entry).mayExport;
    return { exportable, grants: grantsSeenBy(accountId, entry) };
  }

  async #read(snapshotId: string, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    if (!isSnapshotId(snapshotId)) return undefined;
    try {
      return await this.#catalog.getSnapshot(snapshotId, signal);
    } catch (error) {
      if (error instanceof SgwError && error.kind === 'notFound') return undefined;
      throw error;
    }
  }
}

type Purpose = 'export' | 'clone';

function requireGranted(
  asker: Pick<Asker, 'accountId'>,
  entry: SnapshotEntry,
  verdict: Verdict,
  purpose: Purpose | 'read',
): void {
  // To whom it does not belong and is not shared with, it does not exist.
  if (!verdict.isVisible) throw notFound(entry.snapshotId);
  if (entry.state !== 'completed') throw notCompleted(entry);
  if (!verdict.mayExport) throw denied(asker, entry, verdict, purpose);
}

/** Also for one that the asker must not know of. */
export function notFound(snapshotId: string): SgwError {
  const id = snapshotId.slice(0, 64);
  return new SgwError('notFound', 'snapshot-not-found', `snapshot "${id}" does not exist`, {
    hint: '`sgw snapshot list` shows what there is.',
    details: { snapshotId: id },
  });
}

function notCompleted(entry: SnapshotEntry): SgwError {
  return new SgwError('conflict', 'snapshot-not-completed', `snapshot "${entry.name}" is ${entry.state}`, {
    hint: 'Choose another snapshot: `sgw snapshot list`.',
    details: { snapshotId: entry.snapshotId, state: entry.state },
  });
}

function volumeDenied(accountId: string, volumeId: string, missing: readonly string[]): SgwError {
  return new SgwError(
    'denied',
    'export-denied',
    `volume ${volumeId} holds blocks that account ${missing.join(', ')} created, and does not share with ${accountId}; it is not read`,
    {
      hint: 'Whoever created them can share the snapshot that the volume was made of, or last made into.',
      details: { volumeId, accountId, creators: missing },
    },
  );
}

const REFUSALS = {
  export: 'it is not exported',
  clone: 'no clone is made of it',
  read: 'its blocks are not read',
} as const;

function denied(
  asker: Pick<Asker, 'accountId'>,
  entry: SnapshotEntry,
  verdict: Verdict,
  purpose: Purpose | 'read',
): SgwError {
  const owners = verdict.missing.join(', ');
  const share = verdict.missing
    .map((creator) => `sgw snapshot share ${entry.snapshotId} --with ${asker.accountId} --account ${creator}`)
    .join('; ');
  return new SgwError(
    'denied',
    'export-denied',
    `snapshot "${entry.name}" holds blocks that account ${owners} created, and does not share with ${asker.accountId}; ` +
      REFUSALS[purpose],
    {
      hint: `Whoever created them can share it: ${share}`,
      details: { snapshotId: entry.snapshotId, accountId: asker.accountId, creators: verdict.missing },
    },
  );
}
