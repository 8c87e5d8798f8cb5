/** What was decided, about what, for whom: one object each, created once and never changed. */
import { createDocument } from '../../blockstore/index.ts';
import { assert } from '../../kit/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';

interface Asked {
  /** Null where no gateway asked, but a user. */
  readonly gatewayId: string | null;
  readonly accountId: string;
  /** Of a user: the access key that signed. */
  readonly accessKeyId?: string;
}

export type AuditRecord = Asked &
  (
    | {
        readonly kind: 'export' | 'clone' | 'read';
        readonly snapshotId: string;
        /** Of a read of a volume of the block API: then `snapshotId` is what it becomes next. */
        readonly volumeId?: string;
        readonly granted: boolean;
        /** Accounts whose agreement was missing. */
        readonly missing: readonly string[];
      }
    | { readonly kind: 'list'; readonly listed: readonly string[]; readonly leftOut: readonly string[] }
    | {
        readonly kind: 'share' | 'unshare';
        readonly snapshotId: string;
        readonly withAccountId: string;
        readonly changed: boolean;
      }
    /** By root, on a gateway of another account. */
    | { readonly kind: 'operate'; readonly operation: string }
  );

const RANDOM_BYTES = 8;

export class Audit {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Keys are in the order of time. Durable when it resolves. */
  async record(record: AuditRecord, signal: AbortSignal): Promise<void> {
    const { blocks } = this.#context;
    const at = timeOf(this.#context);
    const name = `${at.replaceAll(/[-:]/g, '')}-${blocks.random.bytes(RANDOM_BYTES).toString('hex')}`;
    const created = await createDocument(blocks, serviceKeys.audit(name), { at, ...record }, signal);
    assert(created, 'an audit record has a new name');
  }
}
