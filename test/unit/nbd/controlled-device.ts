/** A device in memory whose calls end when the test says so, or fail. */
import { MemoryDevice, type Completion } from '../../../src/core/blockdevice/index.ts';

interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
  readonly fail: (failure: Error) => void;
}

function newGate(): Gate {
  let open = (): void => undefined;
  let fail = (_failure: Error): void => undefined;
  const opened = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { opened, open, fail };
}

export class ControlledDevice extends MemoryDevice {
  /** Calls that wait, by what they are. */
  readonly calls: string[] = [];
  /** Whether calls of a kind wait. */
  holds = new Set<string>();
  failure: Error | undefined;
  #gate = newGate();

  /** Lets every call that waits end, now or with a failure. */
  open(failure?: Error): void {
    const gate = this.#gate;
    this.#gate = newGate();
    if (failure === undefined) gate.open();
    else gate.fail(failure);
  }

  #call(name: string, fua: boolean | undefined, run: () => Completion, atomic?: boolean): Completion {
    this.calls.push([name, ...(fua === true ? ['fua'] : []), ...(atomic === true ? ['atomic'] : [])].join(' '));
    if (this.failure !== undefined) throw this.failure;
    if (!this.holds.has(name)) return run();
    // Writes that wait for the same group commit share a promise.
    if (name === 'write') {
      void run();
      return this.#gate.opened;
    }
    return this.#gate.opened.then(() => run());
  }

  override read(offset: number, target: Buffer): Completion {
    return this.#call('read', false, () => super.read(offset, target));
  }

  override write(offset: number, data: Buffer, call?: { fua?: boolean; atomic?: true }): Completion {
    return this.#call('write', call?.fua, () => super.write(offset, data), call?.atomic);
  }

  override trim(offset: number, length: number, call?: { fua?: boolean }): Completion {
    return this.#call('trim', call?.fua, () => super.writeZeroes(offset, length));
  }

  override writeZeroes(
    offset: number,
    length: number,
    call?: { fua?: boolean; mayTrim?: boolean; fastOnly?: boolean },
  ): Completion {
    if (call !== undefined)
      this.calls.push(`mayTrim ${String(call.mayTrim ?? false)} fastOnly ${String(call.fastOnly ?? false)}`);
    return this.#call('zero', call?.fua, () => super.writeZeroes(offset, length));
  }

  override flush(): Completion {
    return this.#call('flush', false, () => undefined);
  }

  override prefetch(): Completion {
    return this.#call('prefetch', false, () => undefined);
  }
}
