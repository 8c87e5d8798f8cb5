/**
 * Which requests may be under way beside one another. A request waits for every change before it that overlaps it, so that
 * nothing that is sent again can turn back what is newer, and no read tells of a change that a later read does not see.
 *
 * Invariant: of two requests that overlap, of which the first is a change, the second begins when the first has been answered.
 */

/** What is put in order. The fields below the line are this module's. */
export interface Ordered {
  readonly offset: number;
  readonly length: number;
  readonly isChange: boolean;
  /** Changes that it waits for. */
  blockers: number;
  /** Who waits for it. */
  waiters: Ordered[] | undefined;
  /** Where it is among the changes. */
  place: number;
}

export class RangeOrder<T extends Ordered> {
  readonly #changes: T[] = [];

  /** Takes a request in; whether it may begin at once. */
  add(request: T): boolean {
    const { offset, length, isChange } = request;
    const end = offset + length;
    request.blockers = 0;
    for (const other of this.#changes) {
      if (other.offset >= end || other.offset + other.length <= offset) continue;
      request.blockers += 1;
      if (other.waiters === undefined) other.waiters = [request];
      else other.waiters.push(request);
    }
    if (isChange) {
      request.place = this.#changes.length;
      this.#changes.push(request);
    }
    return request.blockers === 0;
  }

  /** A request is over; `begin` is called for each that need not wait any more. One that was given up while it waited is passed over. */
  remove(request: T, begin: (request: T) => void): void {
    if (!request.isChange) return;
    const last = this.#changes.pop();
    if (last !== undefined && last !== request) {
      this.#changes[request.place] = last;
      last.place = request.place;
    }
    const { waiters } = request;
    if (waiters === undefined) return;
    request.waiters = undefined;
    for (const waiter of waiters as T[]) {
      waiter.blockers -= 1;
      if (waiter.blockers === 0) begin(waiter);
    }
  }
}
