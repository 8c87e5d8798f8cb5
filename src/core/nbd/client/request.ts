/** What is asked of a server, and what it answers, as objects that whoever asks has anyway: nothing is made for a request on its way. */
import type { DeviceExtent } from '../../blockdevice/index.ts';

/** A failure that a server answered: a number of the protocol, and its words, where it gave any. */
export interface WireFailure {
  readonly errno: number;
  readonly message: string;
}

export interface ClientRequest {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** What is written, or where goes what is read: `length` bytes. Not to be touched before the answer, or the end of the connection. */
  readonly data: Buffer | undefined;
  /** Called once with the answer, unless the connection ends before. Only block status has extents. */
  answered(failure: WireFailure | undefined, extents: readonly DeviceExtent[]): void;
}

/** A request that is under way, by its cookie: which slot it has, and how often that was used before. */
export interface Slot {
  readonly index: number;
  uses: number;
  request: ClientRequest | undefined;
  /** Of a structured reply: bytes of a read that have come. */
  coveredBytes: number;
  failure: WireFailure | undefined;
  extents: readonly DeviceExtent[];
}

const NONE: readonly DeviceExtent[] = [];

/** The requests of one connection that were not answered yet. */
export class Slots {
  readonly #slots: Slot[] = [];
  readonly #free: Slot[] = [];

  get inUse(): number {
    return this.#slots.length - this.#free.length;
  }

  take(request: ClientRequest): Slot {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = { index: this.#slots.length, uses: 0, request, coveredBytes: 0, failure: undefined, extents: NONE };
      this.#slots.push(slot);
    }
    slot.uses = (slot.uses + 1) >>> 0;
    slot.request = request;
    slot.coveredBytes = 0;
    slot.failure = undefined;
    slot.extents = NONE;
    return slot;
  }

  /** The request of a cookie; undefined when there is none under way. */
  find(uses: number, index: number): (Slot & { readonly request: ClientRequest }) | undefined {
    const slot = this.#slots[index];
    if (slot?.request === undefined || slot.uses !== uses) return undefined;
    return slot as Slot & { readonly request: ClientRequest };
  }

  release(slot: Slot): void {
    slot.request = undefined;
    this.#free.push(slot);
  }
}
