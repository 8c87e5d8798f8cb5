/**
 * The one place that decides what a principal may do with a resource of an account. What leaves with a snapshot's data is
 * decided by `exportcontrol` besides.
 *
 * What is another account's is refused as if it did not exist, in the same words, so that nobody learns that it does.
 */
import { SgwError } from '../../kit/index.ts';
import type { Principal } from './principal.ts';

export interface Resource {
  readonly kind: 'account' | 'gateway' | 'volume' | 'snapshot' | 'activation' | 'key' | 'group';
  readonly id: string;
  /** Whose it is; null: of the service itself, or of nobody. */
  readonly accountId: string | null;
}

/** `administer`: what whoever runs the service may do for any account; `use`: what only the account itself may do. */
export type Action = 'administer' | 'use';

/** @throws notFound `<kind>-not-found` */
export function authorize(principal: Principal, action: Action, resource: Resource): void {
  if (mayDo(principal, action, resource)) return;
  throw notFoundResource(resource);
}

function mayDo(principal: Principal, action: Action, resource: Resource): boolean {
  if (principal.kind === 'user' && principal.isRoot && action === 'administer') return true;
  return resource.accountId !== null && resource.accountId === principal.accountId;
}

/** Also for one that the asker must not know of. */
export function notFoundResource({ kind, id }: Pick<Resource, 'kind' | 'id'>): SgwError {
  const shown = id.slice(0, 64);
  const hint = HINTS[kind];
  return new SgwError('notFound', `${kind}-not-found`, `${kind} "${shown}" does not exist`, {
    ...(hint === undefined ? {} : { hint }),
    details: { id: shown },
  });
}

const HINTS: Partial<Record<Resource['kind'], string>> = {
  group: '`sgw group list` shows the groups that there are.',
};
