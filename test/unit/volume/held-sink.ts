/** A sink whose members get, sync and promise what a test says, when it says so. */
import { abortReason, SgwError } from '../../../src/core/kit/index.ts';
import type { RecordSink, WriteLog } from '../../../src/core/writelog/index.ts';

interface Waiter {
  readonly isSo: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: SgwError) => void;
}

export class HeldSink implements RecordSink {
  log: WriteLog | undefined;
  /** What the members have. */
  received = 0;
  synced = 0;
  hasLease = true;
  /** As the volume told. */
  appendedSequence = 0;
  uploadedSequence = 0;
  ack: string | undefined;
  isSuspended = false;
  /** Letting the members go fails with this. */
  suspendFails: SgwError | undefined;
  readonly calls: string[] = [];
  #waiters: Waiter[] = [];
  #fenced: SgwError | undefined;

  begin(log: WriteLog): void {
    this.calls.push('begin');
    this.log = log;
  }

  appended(sequence: number): void {
    this.appendedSequence = Math.max(this.appendedSequence, sequence);
  }

  acknowledgeable(sequence: number, signal?: AbortSignal): Promise<void> | undefined {
    return this.#until(() => this.hasLease && this.received >= sequence, signal);
  }

  flushable(sequence: number, signal?: AbortSignal): Promise<void> | undefined {
    return this.#until(() => this.hasLease && this.synced >= sequence, signal);
  }

  readable(signal?: AbortSignal): Promise<void> | undefined {
    return this.#until(() => this.hasLease, signal);
  }

  #until(isSo: () => boolean, signal?: AbortSignal): Promise<void> | undefined {
    if (this.#fenced !== undefined) return Promise.reject(this.#fenced);
    if (isSo()) return undefined;
    return new Promise((resolve, reject) => {
      this.#waiters.push({ isSo, resolve, reject });
      signal?.addEventListener('abort', () => {
        reject(abortReason(signal));
      });
    });
  }

  /** Something has changed. */
  set(change: Partial<Pick<HeldSink, 'received' | 'synced' | 'hasLease'>>): void {
    Object.assign(this, change);
    for (const waiter of this.#waiters.splice(0)) {
      if (waiter.isSo()) waiter.resolve();
      else this.#waiters.push(waiter);
    }
  }

  all(): void {
    this.set({ received: Infinity, synced: Infinity, hasLease: true });
  }

  fence(): SgwError {
    this.#fenced = new SgwError('fenced', 'fenced', 'another member holds the volume');
    for (const { reject } of this.#waiters.splice(0)) reject(this.#fenced);
    return this.#fenced;
  }

  uploaded(sequence: number): void {
    this.uploadedSequence = Math.max(this.uploadedSequence, sequence);
  }

  setAck(ack: string): void {
    this.ack = ack;
  }

  async suspend(): Promise<void> {
    this.calls.push('suspend');
    await Promise.resolve();
    if (this.suspendFails !== undefined) throw this.suspendFails;
    this.isSuspended = true;
  }

  resume(): void {
    this.calls.push('resume');
    this.isSuspended = false;
  }
}

/** What became of a promise: tells without waiting. */
export function watched(promise: Promise<unknown> | undefined): { state: string } {
  const seen = { state: promise === undefined ? 'now' : 'waits' };
  promise?.then(
    () => (seen.state = 'done'),
    (error: unknown) => (seen.state = (error as SgwError).kind),
  );
  return seen;
}

/** Waits until it does not wait any more, for 5 s. */
export async function ended(seen: { readonly state: string }): Promise<string> {
  for (let turn = 0; turn < 1000 && seen.state === 'waits'; turn++) await new Promise((go) => setTimeout(go, 5));
  return seen.state;
}

/** Everything that can go on by itself has. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
