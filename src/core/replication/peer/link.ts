/**
 * One connection to a member that has proved who it is: messages in, messages out, and its end.
 *
 * States: open -> ended, for good. What was sent before `close` may be lost.
 * Invariant: the other side is heard of within `silenceMs`, or the link ends.
 */
import type { TLSSocket } from 'node:tls';
import { KIB, SgwError, toSgwError } from '../../kit/index.ts';
import { ByteQueue } from '../../sockets/index.ts';
import type { PeerLink, PeerMessage } from '../messages.ts';
import { noteGarbage } from './young-garbage.ts';
import { encodeFrame, takeFrame } from './frames.ts';

/** Most frames are shorter: what one turn writes. Longer ones have memory of their own. */
const REUSED_BYTES_MAX = 1024 * KIB;
/** Buffers that are shorter share their memory with others. */
const SMALL_BYTES = 4 * KIB;
/** How often it is looked whether anything came, while a link may be silent. */
const LOOKS = 4;

interface LinkParts {
  readonly socket: TLSSocket;
  readonly gatewayId: string;
  /** A link that is silent for so long has ended. */
  readonly silenceMs: number;
  readonly onMessage: (link: TlsLink, message: PeerMessage) => void;
  /** Called once. */
  readonly onEnd: (link: TlsLink, reason: SgwError) => void;
}

interface Waiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

export class TlsLink implements PeerLink {
  readonly gatewayId: string;
  readonly #parts: LinkParts;
  readonly #received = new ByteQueue();
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #isScheduled = false;
  #waiters: Waiter[] = [];
  /**
   * Memory that is used again, since new memory for all that comes and goes is what the garbage collector would be busy with: where
   * frames that come are put together, and what goes out, unless the socket has that still.
   */
  #incoming: Buffer | undefined;
  #outgoing: Buffer | undefined;
  #watch: NodeJS.Timeout | undefined;
  /** Since something came last. */
  #silentLooks = 0;
  #isEnded = false;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.gatewayId = parts.gatewayId;
  }

  /** Begins to take what comes. Called once, when who is told of the link knows it. */
  begin(): void {
    if (this.#isEnded) return;
    const { socket, silenceMs } = this.#parts;
    socket.setNoDelay(true);
    // A timeout of the socket would begin anew with all that is sent. A look that comes late may come before what has arrived.
    this.#watch = setInterval(() => {
      this.#silentLooks += 1;
      if (this.#silentLooks > LOOKS) this.close(lost(this.gatewayId, `it was silent for ${String(silenceMs)} ms`));
    }, silenceMs / LOOKS);
    this.#watch.unref();
    socket.on('data', (chunk: Buffer) => {
      this.#silentLooks = 0;
      this.#take(chunk);
    });
    socket.on('drain', () => {
      this.#serveWaiters();
    });
    socket.on('error', (error) => {
      this.close(lost(this.gatewayId, toSgwError(error).message));
    });
    socket.on('close', () => {
      this.close(lost(this.gatewayId, 'it closed the connection'));
    });
    socket.resume();
  }

  get waitingBytes(): number {
    return this.#gatheredBytes + this.#parts.socket.writableLength;
  }

  send(message: PeerMessage): void {
    if (this.#isEnded) return;
    for (const piece of encodeFrame(message)) {
      this.#gathered.push(piece);
      this.#gatheredBytes += piece.length;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#flush();
    });
  }

  async drained(bytes: number): Promise<void> {
    if (this.#isEnded || this.waitingBytes < bytes) return;
    await new Promise<void>((resolve) => this.#waiters.push({ bytes, resolve }));
  }

  close(reason: SgwError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearInterval(this.#watch);
    this.#parts.socket.destroy();
    this.#gathered = [];
    this.#gatheredBytes = 0;
    for (const { resolve } of this.#waiters.splice(0)) resolve();
    this.#parts.onEnd(this, reason);
  }

  /** Everything that one turn sends is one write to the system. */
  #flush(): void {
    this.#isScheduled = false;
    const pieces = this.#gathered;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    if (this.#isEnded || pieces.length === 0) return;
    const { socket } = this.#parts;
    // TLS would put the pieces together itself, at the cost of a request and a callback for each.
    const { memory, bytes } = this.#joined(pieces);
    socket.write(bytes, () => {
      if (memory !== undefined) this.#outgoing = memory;
      this.#serveWaiters();
    });
  }

  /** The pieces as one; `memory` is to be given back when the socket has taken them. */
  #joined(pieces: readonly Buffer[]): { readonly memory: Buffer | undefined; readonly bytes: Buffer } {
    const count = pieces.reduce((sum, { length }) => sum + length, 0);
    noteGarbage(count);
    if (count > REUSED_BYTES_MAX || count < SMALL_BYTES) return { memory: undefined, bytes: Buffer.concat(pieces) };
    const memory = this.#outgoing ?? Buffer.allocUnsafeSlow(REUSED_BYTES_MAX);
    this.#outgoing = undefined;
    let at = 0;
    for (const piece of pieces) at += piece.copy(memory, at);
    return { memory, bytes: memory.subarray(0, at) };
  }

  readonly #memory = (bytes: number): Buffer => {
    if (bytes > REUSED_BYTES_MAX) return Buffer.allocUnsafeSlow(bytes);
    this.#incoming ??= Buffer.allocUnsafeSlow(REUSED_BYTES_MAX);
    return this.#incoming.subarray(0, bytes);
  };

  #serveWaiters(): void {
    if (this.#waiters.length === 0) return;
    const waiting = this.waitingBytes;
    const served = this.#waiters.filter(({ bytes }) => waiting < bytes);
    if (served.length === 0) return;
    this.#waiters = this.#waiters.filter(({ bytes }) => waiting >= bytes);
    for (const { resolve } of served) resolve();
  }

  #take(chunk: Buffer): void {
    this.#received.push(chunk);
    noteGarbage(chunk.length);
    for (;;) {
      if (this.#isEnded) return;
      const message = takeFrame(this.#received, this.#memory);
      if (message === undefined) return;
      if (message === 'bad') {
        this.close(lost(this.gatewayId, 'it sent what is no message of a member'));
        return;
      }
      this.#parts.onMessage(this, message);
    }
  }
}

/** Why a link is no more. */
export const lost = (gatewayId: string, why: string): SgwError =>
  new SgwError('unavailable', 'member-lost', `the connection to gateway ${gatewayId} ended: ${why}`, {
    hint: 'It is tried again. Is that gateway running, and can it be reached from here?',
    details: { gatewayId },
  });
