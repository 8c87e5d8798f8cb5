/**
 * What the work of an activated gateway stands on: its identity, its open store, its locks and its worker threads.
 */
import type { BlockStoreOptions, FramePool, Head, Holder } from '../blockstore/index.ts';
import type { Reading } from '../blockstore/gc/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, GatewayMode } from '../localapi/index.ts';
import type { AccountCatalog } from './account-catalog.ts';
import type { GatewayState } from '../state/index.ts';
import type { Locks } from './locks.ts';
import type { Service } from './service-access.ts';
import type { ServingParts } from './serving/parts.ts';
import type { ServedExports } from './serving/served.ts';

export interface Identity {
  readonly gatewayId: string;
  readonly name: string;
  readonly mode: GatewayMode;
  /** Acted for: the home's own unless the caller names another one. */
  readonly accountId: string;
}

export interface Session {
  readonly home: string;
  readonly storeId: string;
  readonly identity: Identity;
  readonly blocks: BlockStoreOptions;
  /** As the account sees it. */
  readonly catalog: AccountCatalog;
  readonly service: Service;
  readonly locks: Locks;
  /** The gateway's settings as they were when the call began. */
  readonly settings: Pick<GatewayState, 'serving' | 'volumeSettings' | 'attachments'>;
  /** Opens volumes over their write logs; undefined where nothing can. */
  readonly openServing: (() => Promise<ServingParts>) | undefined;
  /** What this process serves; undefined where it is no daemon. */
  readonly serving: ServedExports | undefined;
  /** True of one that only reads the store, as `reading/` opens it: it belongs to no gateway, and its home is none. */
  readonly isReader?: boolean;
  /** Starts the worker threads; whoever needs them for one piece of work closes them after it. */
  readonly openPool: () => FramePool;
}

export const holderOf = (session: Session): Holder => ({
  gatewayId: session.identity.gatewayId,
  name: session.identity.name,
});

/** Who pins what is read for long, and what for; a store that takes no pin is told of in `remarks`. */
export const pinOf = (session: Session, purpose: string, remarks: string[]): Reading => ({
  purpose,
  holder: session.identity.gatewayId,
  onUnpinned: () => {
    remarks.push(UNPINNED);
  },
});

const UNPINNED =
  'The store takes no writes here, so nothing kept gc from what was read: had the snapshot been deleted meanwhile, this could have failed.';

/** @throws unsupported `wrong-mode` when the gateway shadows: its volumes come from local images, attached in place. */
export function requireCachedMode(session: Session, what: string): void {
  requireMode(
    session,
    'cached',
    what,
    'A shadowing gateway takes images in place: sgw volume attach NAME --image FILE. To change the mode while nothing is attached: sgw configure --mode cached',
  );
}

/** @throws unsupported `wrong-mode` when the gateway keeps its volumes in the store. */
export function requireShadowingMode(session: Session, what: string): void {
  requireMode(
    session,
    'shadowing',
    what,
    'A cached gateway takes images into the store: sgw volume import FILE. To change the mode while nothing is attached: sgw configure --mode shadowing',
  );
}

function requireMode({ identity }: Session, mode: 'cached' | 'shadowing', what: string, hint: string): void {
  if (identity.mode === mode) return;
  const message = `${what} needs a gateway in mode ${mode}; ${identity.name} is in mode ${identity.mode}`;
  throw new SgwError('unsupported', 'wrong-mode', message, { hint, details: { mode: identity.mode } });
}

/** Export control binds who has to go through the service; here the user has the store itself. */
export const advisoryRemark = ({ blocks, isReader }: Session): string =>
  `Export control is advisory here: whoever can read ${blocks.objects.description} has what is in it without asking.` +
  (isReader === true ? ' No record of this was left in it.' : '');

type Held = Head & { readonly holder: NonNullable<Head['holder']> };

export const isHeldElsewhere = ({ identity }: Session, head: Head): head is Held =>
  head.holder !== null && head.holder.gatewayId !== identity.gatewayId;

/** What stands behind a volume that somebody else has open. */
export const heldRemark = (name: string, holder: NonNullable<Head['holder']>): string =>
  `Gateway ${holder.name} (${holder.gatewayId}) has volume ${name} open since ${holder.since}: what it has acknowledged and not uploaded is not in the store, and how much that is can not be known here.`;

/** The time now, RFC 3339 UTC. */
export const timestamp = (session: Session): string => new Date(session.blocks.clock.nowMs()).toISOString();

/** Whole milliseconds since `startedMs` of the monotonic clock. */
export const millisecondsSince = (session: Session, startedMs: number): number =>
  Math.max(0, Math.round(session.blocks.clock.monotonicMs() - startedMs));

/** Passes progress in bytes on to the caller under a label. */
export const progressOf =
  (call: CallContext, label: string) =>
  (doneBytes: number, totalBytes: number): void => {
    call.onProgress({ label, doneBytes, totalBytes });
  };

/** Every verb but activate, status and store check needs an activated home. */
export function notActivated(home: string): SgwError {
  return new SgwError('conflict', 'not-activated', `the home ${home} is not activated`, {
    hint: 'sgw activate',
    details: { home },
  });
}
