/** How late this process came to what it was to do: on a busy machine, its clocks tell more than it is to blame for. */
const EVERY_MS = 50;
const REMEMBERED_MS = 15_000;

export class LoopLag implements Disposable {
  readonly #timer: NodeJS.Timeout;
  /** By when, and how late. */
  #late: { readonly atMs: number; readonly lateMs: number }[] = [];

  constructor() {
    let dueMs = performance.now() + EVERY_MS;
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      const lateMs = nowMs - dueMs;
      if (lateMs > EVERY_MS) this.#late.push({ atMs: nowMs, lateMs });
      this.#late = this.#late.filter(({ atMs }) => nowMs - atMs < REMEMBERED_MS);
      dueMs = nowMs + EVERY_MS;
    }, EVERY_MS);
  }

  /** Summed over the last quarter of a minute. */
  get lateMs(): number {
    return this.#late.reduce((sum, { lateMs }) => sum + lateMs, 0);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
