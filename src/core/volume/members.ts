/**
 * What the other members of a volume's group must have before something counts (PROTOCOL C26, C27): the volume's side of its sink.
 * There only for volumes that are in a group.
 */
import type { InSyncWriter } from '../blockstore/index.ts';
import { SgwError, toSgwError } from '../kit/index.ts';
import type { AckClass, RecordSink, WriteLog } from '../writelog/index.ts';
import { isPassing } from './passing.ts';

export class Members {
  readonly #sink: RecordSink;
  readonly #log: WriteLog;
  /** Of the newest record that was written. */
  #last: number;
  /** What was acknowledged last, or waits to be. */
  #group: { readonly written: Promise<void>; readonly acknowledged: Promise<void> } | undefined;

  /** Begins: from now on the sink hears of every record of `log`. */
  constructor(sink: RecordSink, log: WriteLog) {
    this.#sink = sink;
    this.#log = log;
    this.#last = log.usage.lastSequence;
    log.onAppended = (sequence) => {
      this.#last = sequence;
      sink.appended(sequence);
    };
    sink.begin(log);
  }

  /**
   * Resolves when what `written` tells to be written may be acknowledged, and `check` has nothing against it. The writes of one group
   * commit have one promise, and share this one too. @throws fenced; what `check` throws
   */
  acknowledged(written: Promise<void>, check: () => void): Promise<void> {
    if (this.#group?.written === written) return this.#group.acknowledged;
    const acknowledged = written.then(() => this.#sink.acknowledgeable(this.#last)).then(check);
    this.#group = { written, acknowledged };
    return acknowledged;
  }

  /** Makes everything appended before durable, here and at the members. @throws as `WriteLog.flush`; fenced */
  async flush(signal?: AbortSignal): Promise<void> {
    const flushed = this.#log.flush();
    const { lastSequence } = this.#log.usage;
    const elsewhere = async (): Promise<void> => {
      // What the flush has just written, nobody has told of.
      this.#sink.appended(lastSequence);
      await this.#sink.flushable(lastSequence, signal);
    };
    await Promise.all([flushed, elsewhere()]);
  }

  /** Resolves when what `read` has read may be answered. @throws fenced */
  readable(read: Promise<void> | undefined, signal?: AbortSignal): Promise<void> | undefined {
    if (read === undefined) return this.#sink.readable(signal);
    return read.then(() => this.#sink.readable(signal));
  }

  uploaded(sequence: number): void {
    this.#sink.uploaded(sequence);
  }

  set ack(ack: AckClass) {
    this.#sink.setAck(ack);
  }

  /** See `RecordSink.suspend`. */
  async suspend(signal?: AbortSignal): Promise<void> {
    await this.#sink.suspend(signal);
  }

  /**
   * Before the first write that is not logged: what is not in the log no other member has, so none may take over.
   * @returns why that can't be done now, where it may be done later @throws why it never can
   */
  async letGo(signal: AbortSignal): Promise<SgwError | undefined> {
    try {
      await this.#sink.suspend(signal);
      return undefined;
    } catch (error) {
      const failure = toSgwError(error);
      if (!isPassing(failure)) throw failure;
      return failure;
    }
  }

  resume(): void {
    this.#sink.resume();
  }
}

/** What a volume of a group is opened with. */
export interface GroupParts {
  /** Through which it acknowledges; undefined: it is in no group. */
  readonly sink?: RecordSink;
  /** Called with the writer when the volume is open, before the sink's `begin`, and whenever it was opened anew. */
  readonly onWriter?: (writer: InSyncWriter) => void;
}

/** @throws conflict `ack-needs-group` */
export function checkAck(ack: AckClass, hasSink: boolean): void {
  if (ack === 'peer' && !hasSink) throw ackNeedsGroup();
}

export const ackNeedsGroup = (): SgwError =>
  new SgwError('conflict', 'ack-needs-group', 'ack=peer is for volumes that a group of gateways looks after', {
    hint: 'Assign the volume to a group (sgw group assign), or take --ack log.',
  });
