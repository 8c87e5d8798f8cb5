/**
 * The answer to one call from afar, line by line.
 *
 * States: nothing sent -> head sent -> ended. Invariants: the last line is the result or the error; the head goes out before
 * anybody on the way gives up waiting for it, and so does a line, an empty one if need be; a caller that reads slowly costs at
 * most what its socket holds and one line.
 */
import type { ServerResponse } from 'node:http';
import { ERROR_KINDS, type SgwError } from '../../kit/index.ts';
import type { CallLine, Progress } from '../../localapi/index.ts';

const ALIVE_MS = 10_000;
const PROGRESS_PERIOD_MS = 200;
const HEADERS = { 'content-type': 'application/x-ndjson; charset=utf-8', 'cache-control': 'no-store' } as const;

export class OperationReply implements Disposable {
  readonly #response: ServerResponse;
  readonly #alive: NodeJS.Timeout;
  readonly #onClose: () => void;
  #lastProgressMs = Number.NEGATIVE_INFINITY;

  /** `onGone` is called when the caller went away before the end. */
  constructor(response: ServerResponse, onGone: () => void) {
    this.#response = response;
    this.#onClose = () => {
      if (!response.writableFinished) onGone();
    };
    response.once('close', this.#onClose);
    this.#alive = setInterval(() => {
      this.#write('\n');
    }, ALIVE_MS);
  }

  progress(progress: Progress): void {
    const nowMs = performance.now();
    if (nowMs - this.#lastProgressMs < PROGRESS_PERIOD_MS || this.#response.writableNeedDrain) return;
    this.#lastProgressMs = nowMs;
    this.#write(`${JSON.stringify({ progress } satisfies CallLine)}\n`);
  }

  result(result: unknown): void {
    this.#end(200, { result: result ?? null });
  }

  failure(failure: SgwError): void {
    this.#end(ERROR_KINDS[failure.kind].httpStatus, { error: failure.toDocument() });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#alive);
    this.#response.off('close', this.#onClose);
  }

  #write(text: string): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    if (!this.#response.headersSent) this.#response.writeHead(200, HEADERS);
    this.#response.write(text);
  }

  #end(status: number, line: CallLine): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    if (!this.#response.headersSent) this.#response.writeHead(status, HEADERS);
    this.#response.end(`${JSON.stringify(line)}\n`);
  }
}
