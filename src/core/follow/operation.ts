/** One request of the device above: sent to a holder, and again to the next one, until it is answered. */
import type { DeviceExtent } from '../blockdevice/index.ts';
import type { SgwError } from '../kit/index.ts';
import { CMD, type ClientRequest, type WireFailure } from '../nbd/client/index.ts';
import type { Ordered } from './range-order.ts';

export interface OperationOwner {
  /** A holder has answered. */
  answered(operation: Operation, failure: WireFailure | undefined): void;
}

const CHANGES: ReadonlySet<number> = new Set([CMD.write, CMD.trim, CMD.writeZeroes]);
const NONE: readonly DeviceExtent[] = [];

export class Operation implements ClientRequest, Ordered {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer | undefined;
  readonly isChange: boolean;
  readonly signal: AbortSignal | undefined;
  readonly promise: Promise<void>;
  readonly beganMs: number;
  blockers = 0;
  waiters: Ordered[] | undefined;
  place = 0;
  /** A holder has it. */
  isSent = false;
  isOver = false;
  /** Nobody waits for it any more; it is not sent again. */
  isGivenUp = false;
  extents: readonly DeviceExtent[] = NONE;
  /** Of a flush: how many changes had been acknowledged when it began. */
  coversChanges = 0;
  readonly #owner: OperationOwner;
  #resolve: (() => void) | undefined;
  #reject: ((reason: SgwError) => void) | undefined;

  constructor(
    owner: OperationOwner,
    request: Pick<ClientRequest, 'type' | 'flags' | 'offset' | 'length' | 'data'>,
    signal: AbortSignal | undefined,
    beganMs: number,
  ) {
    const { type, flags, offset, length, data } = request;
    this.#owner = owner;
    this.type = type;
    this.flags = flags;
    this.offset = offset;
    this.length = length;
    this.data = data;
    this.isChange = CHANGES.has(type);
    this.signal = signal;
    this.beganMs = beganMs;
    this.promise = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  answered(failure: WireFailure | undefined, extents: readonly DeviceExtent[]): void {
    this.extents = extents;
    this.#owner.answered(this, failure);
  }

  /** Tells the device above; once. */
  settle(failure: SgwError | undefined): void {
    this.isOver = true;
    if (failure === undefined) this.#resolve?.();
    else this.#reject?.(failure);
  }
}
