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
    /** A member of a group was permitted to take a volume over. */
    | {
        readonly kind: 'take-over';
        readonly groupId: string;
        readonly volumeId: string;
        /** That ends. */
        readonly epoch: number;
        /** Null: nobody holds it. */
        readonly fromGatewayId: string | null;
        readonly reason: string;
      }
    /** What a user has a gateway do: root with one of another account, and its own account where that ends what it serves. */
    | {
        readonly kind: 'operate';
        readonly operation: string;
        /** Absent in records of before it was noted: then it was. */
        readonly granted?: boolean;
      }
    /** Of accounts, keys, gateways and alerts, by the message that asks for it. */
    | {
        readonly kind: 'administer';
        readonly message: string;
        readonly subject: Readonly<Partial<Record<'accountId' | 'gatewayId' | 'accessKeyId' | 'name', string>>>;
        readonly granted: boolean;
      }
  );

const RANDOM_BYTES = 8;

/** A time as names begin with it: in the order of time. */
export const compactTime = (time: string): string => time.replaceAll(/[-:]/g, '');

export class Audit {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Keys are in the order of time. Durable when it resolves. */
  async record(record: AuditRecord, signal: AbortSignal): Promise<void> {
    const { blocks } = this.#context;
    const at = timeOf(this.#context);
    const name = `${compactTime(at)}-${blocks.random.bytes(RANDOM_BYTES).toString('hex')}`;
    const created = await createDocument(blocks, serviceKeys.audit(name), { at, ...record }, signal);
    assert(created, 'an audit record has a new name');
  }
}
