/**
 * What the work of an activated gateway stands on: its identity, its open store, its locks and its worker threads.
 */
import type { BlockStoreOptions, FramePool, Holder } from '../blockstore/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, GatewayMode } from '../localapi/index.ts';
import type { AccountCatalog } from './account-catalog.ts';
import type { GatewayState } from '../state/index.ts';
import type { Locks } from './locks.ts';
import type { ServiceAccess } from './service-access.ts';
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
  readonly service: ServiceAccess;
  readonly locks: Locks;
  /** The gateway's settings as they were when the call began. */
  readonly settings: Pick<GatewayState, 'serving' | 'volumeSettings' | 'attachments'>;
  /** Opens volumes over their write logs; undefined where nothing can. */
  readonly openServing: (() => Promise<ServingParts>) | undefined;
  /** What this process serves; undefined where it is no daemon. */
  readonly serving: ServedExports | undefined;
  /** Starts the worker threads; whoever needs them for one piece of work closes them after it. */
  readonly openPool: () => FramePool;
}

export const holderOf = (session: Session): Holder => ({
  gatewayId: session.identity.gatewayId,
  name: session.identity.name,
});

/** Who pins what is read for long, and what for. */
export const pinOf = (session: Session, purpose: string): { readonly purpose: string; readonly holder: string } => ({
  purpose,
  holder: session.identity.gatewayId,
});

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
export const advisoryRemark = ({ blocks }: Session): string =>
  `Export control is advisory here: whoever can read ${blocks.objects.description} has what is in it without asking.`;

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
