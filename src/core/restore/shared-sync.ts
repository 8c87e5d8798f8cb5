/** Syncs of an image: calls that wait for one share the next that begins after they came. */
import type { ImageFile } from '../image/index.ts';

export class SharedSync {
  readonly #image: Pick<ImageFile, 'sync'>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(image: Pick<ImageFile, 'sync'>) {
    this.#image = image;
  }

  /** Everything written before the call is on the disk when it resolves. @throws what the first failed sync threw */
  async sync(): Promise<void> {
    if (this.#running === undefined) {
      await this.#start();
      return;
    }
    this.#next ??= this.#running.then(
      async () => this.#startNext(),
      async () => this.#startNext(),
    );
    await this.#next;
  }

  async #startNext(): Promise<void> {
    this.#next = undefined;
    await this.#start();
  }

  async #start(): Promise<void> {
    const running = this.#image.sync();
    this.#running = running;
    try {
      await running;
    } finally {
      if (this.#running === running) this.#running = undefined;
    }
  }
}
