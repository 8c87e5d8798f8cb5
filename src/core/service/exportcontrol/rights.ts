/**
 * The rule of export control (S7): an account may take a snapshot's data out if it may see the snapshot (it owns it, or
 * its owner shares it) and every account that wrote a block of it agrees: it is the account itself, or it shares the
 * snapshot with that account. One block by another account is enough for a refusal.
 */
import type { SnapshotEntry } from '../../blockstore/index.ts';
import type { Grant } from '../../protocol/index.ts';

/** What the rule looks at. */
export type Manifest = Pick<SnapshotEntry, 'accountId' | 'creators' | 'grants' | 'root'>;

export interface Verdict {
  readonly isVisible: boolean;
  /** Accounts that wrote blocks and do not agree, in ascending order. */
  readonly missing: readonly string[];
  readonly mayExport: boolean;
}

export function judge(accountId: string, snapshot: Manifest): Verdict {
  const agreed = new Set(
    (snapshot.grants ?? []).filter((grant) => grant.accountId === accountId).map((grant) => grant.by),
  );
  const isVisible = snapshot.accountId === accountId || agreed.has(snapshot.accountId);
  const missing = creatorsOf(snapshot).filter((creator) => creator !== accountId && !agreed.has(creator));
  return { isVisible, missing, mayExport: isVisible && missing.length === 0 };
}

/** Who may share a snapshot: its owner, and whoever has blocks in it. */
export const mayShare = (accountId: string, snapshot: Manifest): boolean =>
  snapshot.accountId === accountId || creatorsOf(snapshot).includes(accountId);

/** The owner sees all grants, others those that they gave or got. */
export const grantsSeenBy = (accountId: string, snapshot: Manifest): Grant[] =>
  (snapshot.grants ?? []).filter((grant) => [snapshot.accountId, grant.accountId, grant.by].includes(accountId));

/** As listed when the snapshot was completed, and as the map itself says, so that neither alone decides. */
function creatorsOf({ creators, root }: Manifest): string[] {
  return [...new Set([...creators, ...(root?.creators ?? [])])].sort();
}
