/** A client of a server under test that speaks in bytes. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';

export class ByteClient {
  readonly socket: Socket;
  #received: Buffer[] = [];
  #length = 0;
  #isClosed = false;
  #wake: (() => void) | undefined;

  protected constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data: Buffer) => {
      this.#received.push(data);
      this.#length += data.length;
      this.#wake?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake?.();
    });
  }

  protected async connected(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.socket.once('connect', resolve);
      this.socket.once('error', reject);
    });
  }

  /** The next bytes; fails when the server closes before. */
  async take(count: number): Promise<Buffer> {
    while (this.#length < count) {
      if (this.#isClosed) throw new Error(`closed after ${this.#length} of ${count} bytes`);
      await this.#more();
    }
    const parts: Buffer[] = [];
    for (let left = count; left > 0;) {
      const first = this.#received[0] ?? Buffer.alloc(0);
      const part = first.subarray(0, left);
      parts.push(part);
      left -= part.length;
      if (part.length === first.length) this.#received.shift();
      else this.#received[0] = first.subarray(part.length);
    }
    this.#length -= count;
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /** Everything until the server closes. */
  async rest(): Promise<Buffer> {
    while (!this.#isClosed) await this.#more();
    return await this.take(this.#length);
  }

  get receivedLength(): number {
    return this.#length;
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}

export async function waitFor(what: string, isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !isTrue(); i++) await delay(5);
  expect(isTrue(), what).toBe(true);
}
