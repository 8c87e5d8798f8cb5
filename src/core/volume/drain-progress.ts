/** Tells those who drain a volume how far it is. */
export type OnDrained = (doneBytes: number, totalBytes: number) => void;

export class DrainProgress {
  #uploadedBytes = 0;
  readonly #reports = new Set<() => void>();

  /** So many bytes of the log are in the store now. */
  uploaded(logBytes: number): void {
    this.#uploadedBytes += logBytes;
    for (const report of this.#reports) report();
  }

  /** Reports while `work` drains `totalBytes`. */
  async during(totalBytes: number, onProgress: OnDrained | undefined, work: () => Promise<void>): Promise<void> {
    const before = this.#uploadedBytes;
    const report = (): void => onProgress?.(Math.min(totalBytes, this.#uploadedBytes - before), totalBytes);
    this.#reports.add(report);
    try {
      await work();
    } finally {
      this.#reports.delete(report);
    }
  }
}
