/**
 * The answer to one call, line by line.
 *
 * States: nothing sent -> lines sent -> ended. Invariants: the last line is the result or the error; a caller that reads
 * slowly costs at most what the socket holds and one line of progress, the newest.
 */
import type { ServerResponse } from 'node:http';
import { ERROR_KINDS, type SgwError } from '../../kit/index.ts';
import type { CallLine, Progress } from '../../localapi/index.ts';

/** Progress is for people: more than this often helps nobody. */
const PROGRESS_PERIOD_MS = 100;
const HEADERS = { 'content-type': 'application/x-ndjson; charset=utf-8', 'cache-control': 'no-store' } as const;

export class CallReply {
  readonly #response: ServerResponse;
  readonly #nowMs: () => number;
  #lastProgressMs = Number.NEGATIVE_INFINITY;

  constructor(response: ServerResponse, nowMs: () => number) {
    this.#response = response;
    this.#nowMs = nowMs;
  }

  progress(progress: Progress): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#lastProgressMs < PROGRESS_PERIOD_MS || this.#response.writableNeedDrain) return;
    this.#lastProgressMs = nowMs;
    this.line({ progress });
  }

  line(line: CallLine): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    this.#head(200);
    this.#response.write(`${JSON.stringify(line)}\n`);
  }

  result(result: unknown): void {
    this.#end(200, { result });
  }

  failure(failure: SgwError): void {
    this.#end(ERROR_KINDS[failure.kind].httpStatus, { error: failure.toDocument() });
  }

  #end(status: number, line: CallLine): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    this.#head(status);
    this.#response.end(`${JSON.stringify(line)}\n`);
  }

  #head(status: number): void {
    if (!this.#response.headersSent) this.#response.writeHead(status, HEADERS);
  }
}
